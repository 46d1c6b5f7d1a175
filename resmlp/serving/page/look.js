// The row of A of the patch that is pointed at, over the image.

import {look} from "/page/api.js";
import {cells, draw, over, patchAt} from "/page/canvas.js";
import {part, signed} from "/page/dom.js";
import {chosenSize, sizeField} from "/page/image.js";

const MOST_KEPT = 2000;
const canvas = part("canvas");
const kept = new Map();
const state = {model: null, layer: 0, patch: null, asked: 0, report: () => {}};

export function begin(model, report) {
  const active = model.layers.length > 0 && model.operations.includes("predict");
  state.model = active ? model : null;
  state.patch = null;
  state.report = report;
  part("look").hidden = !active;
  canvas.classList.toggle("live", active);
  canvas.tabIndex = active ? 0 : -1;
  over([]);
  if (!active) return;
  part("layer").max = model.layers.length - 1;
  part("layer").value = state.layer = Math.min(state.layer, model.layers.length - 1);
  named();
  quiet();
}

function named() {
  const layer = state.model.layers[state.layer], words = `${layer.number} of ${state.model.layers.at(-1).number}`;
  part("layer-value").textContent = words;
  part("layer").setAttribute("aria-valuetext", `layer ${words}`);
}

function grid() {
  const {size, layers} = state.model, chosen = chosenSize(state.model);
  return layers[state.layer].grid.map((patches, axis) => Math.round(patches * chosen[axis] / size[axis]));
}

function quiet() {
  state.patch = null;
  state.asked += 1;
  const [down, across] = grid();
  part("sentence").textContent = `The network sees ${down} \u00d7 ${across} patches.`;
  part("scale").hidden = true;
  over([]);
}

async function choose(patch) {
  if (!state.model || !patch || canvas.hidden) return;
  state.patch = patch;
  const asked = ++state.asked, layer = state.model.layers[state.layer];
  const [row, column] = patch, {name: model} = state.model;
  const options = {model, layer: layer.number, row, column, ...sizeField(state.model)};
  const key = Object.values(options).join("/");
  try {
    if (!kept.has(key)) {
      const answer = await look(options);
      if (kept.size >= MOST_KEPT) kept.clear();
      kept.set(key, answer);
    }
    if (asked === state.asked) paint(kept.get(key));
  } catch (error) {
    state.report(error);
  }
}

function paint(row) {
  const most = Math.max(...row.weights.flat().map(Math.abs)) || 1;
  over([cells(row.weights, most, row.patch)]);
  part("sentence").textContent = sentence(row);
  part("scale").hidden = false;
  part("scale-low").textContent = `\u2212${most.toPrecision(2)}`;
  part("scale-high").textContent = `+${most.toPrecision(2)}`;
}

function sentence(row) {
  const found = row.weights.flatMap((line, y) => line.map((weight, x) => [weight, y, x]));
  found.sort((a, b) => Math.abs(b[0]) - Math.abs(a[0]));
  const best = found.slice(0, 3).map(([weight, y, x]) => `${signed(weight)} at ${place(y, x)}`);
  return `Patch ${place(...row.patch)} in ${row.name} takes ${best.join(", ")}.`;
}

function place(row, column) { return `row ${row}, column ${column}`; }

function hover(event) {
  if (!state.model) return;
  const patch = patchAt(event, grid());
  if (patch && String(patch) !== String(state.patch)) choose(patch);
}

function key(event) {
  if (!state.model) return;
  const moves = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  if (event.key === "Escape") quiet();
  if (!(event.key in moves)) return;
  event.preventDefault();
  const sides = grid(), from = state.patch ?? sides.map(side => Math.floor(side / 2));
  choose(from.map((at, axis) => Math.min(sides[axis] - 1, Math.max(0, at + (state.patch ? moves[event.key][axis] : 0)))));
}

part("layer").addEventListener("input", event => {
  state.layer = Number(event.target.value);
  named();
  choose(state.patch ?? grid().map(side => Math.floor(side / 2)));
});
part("size-slider").addEventListener("input", () => state.model && quiet());
canvas.addEventListener("pointermove", hover);
canvas.addEventListener("pointerdown", hover);
canvas.addEventListener("pointerleave", event => {
  if (state.model && event.pointerType === "mouse" && document.activeElement !== canvas) quiet();
});
canvas.addEventListener("keydown", key);
new MutationObserver(() => state.patch ? choose(state.patch) : draw())
  .observe(document.documentElement, {attributeFilter: ["data-theme"]});
