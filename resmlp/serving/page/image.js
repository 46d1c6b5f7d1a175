// An image comes from a file, a drop, the clipboard, the camera or an example, and is sent to the network.

import {sendImage} from "/page/api.js";
import {labels, over, show} from "/page/canvas.js";
import {element, part, percent} from "/page/dom.js";

const EXAMPLES = {"ship.png": "a ship", "airplane.png": "an airplane", "car.png": "a car"};
const state = {model: null, file: null, working: null, labels: null, report: () => {}};

export function begin(model, report) {
  state.model = model;
  state.report = report;
  for (const operation of ["predict", "segment"]) part(operation).hidden = !model.operations.includes(operation);
  part("size").hidden = model.sizes.length < 2;
  part("size-slider").max = model.sizes.length - 1;
  part("size-slider").value = Math.max(0, model.sizes.findIndex(each => String(each) === String(model.size)));
  sized();
  part("bars").replaceChildren(...Array.from({length: 5}, ghost));
  if (state.file) take(state.file);
}

export async function take(file) {
  state.file = file;
  state.working?.abort();
  const working = state.working = new AbortController(), started = performance.now();
  busy(true);
  state.report(null);
  try {
    const bitmap = await picture(file);
    const operation = state.model.operations.includes("segment") ? "segment" : "predict";
    const answer = await sendImage(operation, file, fields(operation), working.signal);
    if (working.signal.aborted) return;
    part("name").textContent = file.name || "the image";
    part("took").textContent = `answered in ${Math.round(performance.now() - started)} ms`;
    await (operation === "segment" ? segmented(answer.segmentations[0], bitmap) : predicted(answer.predictions[0], bitmap));
  } catch (error) {
    if (error.name !== "AbortError") state.report(error);
  } finally {
    if (state.working === working) busy(false);
  }
}

async function picture(file) {
  try {
    return await createImageBitmap(file, {imageOrientation: state.model.upright ? "from-image" : "none"});
  } catch {
    return null; // the server reads more formats than a browser shows
  }
}

function fields(operation) {
  if (operation === "segment") return {model: state.model.name};
  return {model: state.model.name, top: 5, ...sizeField(state.model)};
}

export function chosenSize(model) { return model.sizes[part("size-slider").value]; }

export function sizeField(model) { return model.sizes.length > 1 ? {size: chosenSize(model).join("x")} : {}; }

function ghost() {
  const line = element("li", "", "ghost");
  line.setAttribute("aria-hidden", "true");
  line.append(element("span", "", "track"));
  return line;
}

function predicted(found, bitmap) {
  displayed(bitmap, found.seen);
  part("bars").replaceChildren(...found.top.map(({label, probability}) => {
    const line = element("li"), track = element("span", "", "track"), bar = document.createElement("i");
    bar.style.width = `${100 * probability}%`;
    track.append(bar);
    track.setAttribute("aria-hidden", "true");
    line.append(element("span", label, "label"), element("span", percent(probability), "share"), track);
    return line;
  }));
  const [best] = found.top;
  said(`${best.label}, ${percent(best.probability)}`);
}

async function segmented(found, bitmap) {
  displayed(bitmap, [0, 0, 1, 1]);
  const bytes = Uint8Array.from(atob(found.png), letter => letter.charCodeAt(0));
  state.labels = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
  if (!bitmap) show(state.labels);
  blended();
  part("legend").replaceChildren(...found.classes.map(({label, color, share}) => {
    const line = element("li"), swatch = document.createElement("i");
    swatch.style.background = `rgb(${color.join(" ")})`;
    line.append(swatch, element("span", label), element("span", percent(share), "share"));
    return line;
  }));
  said(`${found.classes.length} classes; most: ${found.classes[0].label}, ${percent(found.classes[0].share)}`);
}

function displayed(bitmap, box) {
  show(bitmap, box);
  part("empty").hidden = Boolean(bitmap);
  part("empty").querySelector(".lead").textContent = bitmap ? "" : "Answered; this browser cannot show the image";
}

function said(words) {
  part("status").textContent = words;
  part("canvas").setAttribute("aria-label", `${state.file.name || "the image"}: ${words}`);
}

function blended() {
  const opacity = part("opacity").value;
  part("opacity-value").textContent = `${opacity} %`;
  if (state.labels && state.model.operations.includes("segment")) over([labels(state.labels, opacity / 100)]);
}

function sized() {
  const size = chosenSize(state.model), words = size ? size.join(" \u00d7 ") : "";
  part("size-value").textContent = words;
  part("size-slider").setAttribute("aria-valuetext", `${words} pixels`);
}

function busy(on) { part("scan").hidden = !on; }

function given(list) {
  const file = [...(list ?? [])][0];
  if (file && state.model && !part("images").hidden) take(file);
  return Boolean(file);
}

part("choose").addEventListener("click", () => part("file").click());
part("file").addEventListener("change", event => {
  given(event.target.files);
  event.target.value = "";
});
part("opacity").addEventListener("input", blended);
part("size-slider").addEventListener("input", sized);
part("size-slider").addEventListener("change", () => state.file && take(state.file));
document.addEventListener("paste", event => given(event.clipboardData?.files) && event.preventDefault());
for (const kind of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    part("plate").classList.toggle("over", kind === "dragover");
    if (kind === "drop") given(event.dataTransfer?.files);
  });
}
part("examples").append(...Object.entries(EXAMPLES).map(([name, words]) => {
  const button = element("button"), image = document.createElement("img");
  button.type = "button";
  image.src = `/examples/${name}`;
  image.alt = `Example: ${words}`;
  button.append(image);
  button.addEventListener("click", async () => {
    const response = await fetch(image.src);
    take(new File([await response.blob()], name, {type: "image/png"}));
  });
  return button;
}));
