// The image as the network sees it, with what is drawn over it.

import {color, part} from "/page/dom.js";

const canvas = part("canvas");
const pen = canvas.getContext("2d");
const state = {bitmap: null, box: null, layers: []};
const ONE = [0, 0, 1, 1];

export function show(bitmap, box = ONE) {
  state.bitmap = bitmap;
  state.box = box;
  canvas.hidden = !bitmap;
  if (bitmap) fit();
  draw();
}

export function over(drawers) {
  state.layers = drawers;
  draw();
}

function fit() {
  const [left, top, right, bottom] = state.box, ratio = window.devicePixelRatio || 1;
  const width = (right - left) * state.bitmap.width, height = (bottom - top) * state.bitmap.height;
  const room = part("plate").clientWidth, scale = room / Math.max(width, height);
  canvas.width = Math.max(1, Math.round(width * scale * ratio));
  canvas.height = Math.max(1, Math.round(height * scale * ratio));
  canvas.style.width = `${Math.max(1, Math.round(width * scale))}px`;
}

export function draw() {
  if (!state.bitmap) return;
  const [left, top, right, bottom] = state.box, {width, height} = state.bitmap;
  pen.imageSmoothingEnabled = (right - left) * width > 96;
  pen.imageSmoothingQuality = "high";
  pen.globalAlpha = 1;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(state.bitmap, left * width, top * height, (right - left) * width, (bottom - top) * height,
    0, 0, canvas.width, canvas.height);
  for (const drawer of state.layers) drawer(pen, canvas.width, canvas.height);
}

export function cells(weights, most, patch) {
  const positive = color("--positive"), negative = color("--negative"), page = color("--well");
  return (pen, width, height) => {
    const down = weights.length, across = weights[0].length;
    pen.globalAlpha = 0.4;
    pen.fillStyle = page;
    pen.fillRect(0, 0, width, height);
    weights.forEach((line, y) => line.forEach((weight, x) => {
      pen.globalAlpha = 0.92 * Math.min(1, Math.abs(weight) / most) ** 0.75;
      pen.fillStyle = weight < 0 ? negative : positive;
      const [x0, y0] = [Math.round(x * width / across), Math.round(y * height / down)];
      pen.fillRect(x0, y0, Math.round((x + 1) * width / across) - x0, Math.round((y + 1) * height / down) - y0);
    }));
    ring(pen, patch[1] * width / across, patch[0] * height / down, width / across, height / down);
  };
}

function ring(pen, x, y, width, height) {
  const line = Math.min(5, Math.max(2, Math.min(width, height) / 14)) * (window.devicePixelRatio || 1);
  pen.globalAlpha = 1;
  for (const [extra, style] of [[1, "#ffffff"], [0, "#10171d"]]) {
    pen.lineWidth = line + 2 * extra;
    pen.strokeStyle = style;
    pen.strokeRect(x, y, width, height);
  }
}

export function labels(bitmap, opacity) {
  return (pen, width, height) => {
    pen.imageSmoothingEnabled = false;
    pen.globalAlpha = opacity;
    pen.drawImage(bitmap, 0, 0, width, height);
  };
}

export function patchAt(event, grid) {
  const box = canvas.getBoundingClientRect();
  const row = Math.floor((event.clientY - box.top) / box.height * grid[0]);
  const column = Math.floor((event.clientX - box.left) / box.width * grid[1]);
  return row < 0 || column < 0 || row >= grid[0] || column >= grid[1] ? null : [row, column];
}

window.addEventListener("resize", () => {
  if (!state.bitmap) return;
  fit();
  draw();
});
