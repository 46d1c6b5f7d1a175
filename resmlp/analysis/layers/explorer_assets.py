"""CSS and JavaScript of the explorer. They load no other file."""

STYLE = """.look { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr));
  gap: 1.25rem; }
.look canvas { display: block; width: 100%; border: 1px solid var(--rule); border-radius: 4px;
  image-rendering: pixelated; }
.look canvas[tabindex] { cursor: crosshair; touch-action: pan-y; }
:focus-visible { outline: 3px solid #0a84d6; outline-offset: 2px; }
.control { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; margin: .75rem 0 1.25rem; }
.control input { flex: 1 1 12rem; min-width: 0; height: 2rem; accent-color: #0a84d6; }
.control output { min-width: 9rem; font-variant-numeric: tabular-nums; }
.look p { font-size: .9rem; }
#sentence { min-height: 4.7em; margin-top: 1rem; }
#all th { text-align: right; }
#all td { text-align: right; padding-left: .5rem; white-space: nowrap; }
"""

SCRIPT = """"use strict";
const part = id => document.getElementById(id);
const data = JSON.parse(part("weights").textContent);
const state = {layer: 0, item: 0};
const layers = data.layers.map(layer => ({
  ...layer, values: Int8Array.from(atob(layer.values), letter => letter.charCodeAt(0)),
}));
const blue = [0, 114, 178], orange = [201, 80, 10];
const night = matchMedia("(prefers-color-scheme: dark)");

function cells(layer) { return layer.height * layer.width; }

function row(layer, item) {
  const size = cells(layer);
  return layer.values.subarray(item * size, (item + 1) * size);
}

function cellName(layer, cell) {
  if (layer.item === "position") return `position ${cell}`;
  return `row ${Math.floor(cell / layer.width)} column ${cell % layer.width}`;
}

function itemName(layer, item) {
  const number = layer.numbers[item];
  if (!layer.tokens) return `${layer.item} ${number}`;
  return `${layer.item === "patch" ? "patch " : ""}${cellName(layer, number)}`;
}

function value(layer, byte) { return byte * layer.scale; }

function shown(number) { return number === 0 ? "0" : (number > 0 ? "+" : "\\u2212") + Math.abs(number).toPrecision(3); }

function paint(canvas, width, height, color, ring) {
  const side = Math.max(3, Math.floor(560 / Math.max(width, height)));
  canvas.width = width * side;
  canvas.height = height * side;
  const pen = canvas.getContext("2d");
  for (let cell = 0; cell < width * height; cell++) {
    pen.fillStyle = color(cell);
    pen.fillRect(cell % width * side, Math.floor(cell / width) * side, side, side);
  }
  if (ring < 0) return;
  const x = ring % width * side, y = Math.floor(ring / width) * side, line = Math.max(1, side / 8);
  pen.lineWidth = line;
  pen.strokeStyle = night.matches ? "#ffffff" : "#1b2530";
  pen.strokeRect(x + line / 2, y + line / 2, side - line, side - line);
}

function shade(share) {
  const zero = night.matches ? [18, 24, 30] : [255, 255, 255];
  const pole = (share < 0 ? orange : blue).map(c => night.matches ? Math.min(255, c * 1.3 + 20) : c);
  return `rgb(${zero.map((c, i) => Math.round(c + (pole[i] - c) * Math.abs(share))).join(" ")})`;
}

function strongest(layer, weights) {
  const order = Array.from(weights.keys()).filter(cell => weights[cell] !== 0);
  order.sort((a, b) => Math.abs(weights[b]) - Math.abs(weights[a]) || a - b);
  return order.slice(0, 5).map(cell => `${cellName(layer, cell)} (${shown(value(layer, weights[cell]))})`);
}

function sentence(layer, weights) {
  const best = strongest(layer, weights);
  const ends = best.length ? `strongest weights at ${best.join(", ")}.` : "all weights round to zero.";
  return `${itemName(layer, state.item)}, ${layer.name}: ${ends}`;
}

function draw() {
  const layer = layers[state.layer];
  state.item = Math.min(state.item, layer.numbers.length - 1);
  const weights = row(layer, state.item);
  const most = weights.reduce((top, byte) => Math.max(top, Math.abs(byte)), 1);
  const down = Math.ceil(layer.numbers.length / layer.columns);
  const ring = layer.tokens ? layer.numbers[state.item] : -1;
  paint(part("choose"), layer.columns, down, item => shade(0.75 * (layer.norms[item] ?? 0)), state.item);
  paint(part("image"), layer.width, layer.height, cell => shade(weights[cell] / most), ring);
  part("name").textContent = layer.name;
  part("layer").setAttribute("aria-valuetext", layer.name);
  part("most").textContent = `to \\u00b1${value(layer, most).toPrecision(3)}`;
  part("under").textContent = "";
  const words = sentence(layer, weights);
  part("sentence").textContent = words;
  part("image").setAttribute("aria-label", words);
  if (part("all").open) list();
}

function list() {
  const layer = layers[state.layer], weights = row(layer, state.item), table = document.createElement("table");
  for (let y = 0; y < layer.height; y++) {
    const line = table.insertRow(), head = document.createElement("th");
    head.scope = "row";
    head.textContent = layer.item === "position" ? y * layer.width : y;
    line.append(head);
    for (const byte of weights.subarray(y * layer.width, (y + 1) * layer.width)) {
      line.insertCell().textContent = shown(value(layer, byte));
    }
  }
  part("values").replaceChildren(table);
}

function under(canvas, event, width, height) {
  const box = canvas.getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * width);
  const y = Math.floor((event.clientY - box.top) / box.height * height);
  return x < 0 || y < 0 || x >= width || y >= height ? -1 : y * width + x;
}

function hover(event) {
  const layer = layers[state.layer], down = Math.ceil(layer.numbers.length / layer.columns);
  choose(under(part("choose"), event, layer.columns, down));
}

function choose(item) {
  if (item < 0 || item >= layers[state.layer].numbers.length || item === state.item) return;
  state.item = item;
  draw();
}

function step(event) {
  const layer = layers[state.layer], count = layer.numbers.length, last = count - 1;
  const moves = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -layer.columns, ArrowDown: layer.columns};
  const ends = {Home: 0, End: last};
  if (!(event.key in moves) && !(event.key in ends)) return;
  event.preventDefault();
  choose(event.key in ends ? ends[event.key] : state.item + moves[event.key]);
}

function read(event) {
  const layer = layers[state.layer], cell = under(part("image"), event, layer.width, layer.height);
  if (cell < 0) return;
  part("under").textContent = `${cellName(layer, cell)}: ${shown(value(layer, row(layer, state.item)[cell]))}`;
}

part("layer").addEventListener("input", event => {
  state.layer = Number(event.target.value);
  draw();
});
for (const kind of ["pointermove", "pointerdown"]) {
  part("choose").addEventListener(kind, hover);
  part("image").addEventListener(kind, read);
}
part("choose").addEventListener("keydown", step);
part("all").addEventListener("toggle", () => part("all").open && list());
night.addEventListener("change", draw);
state.item = layers[0].start;
draw();
"""
