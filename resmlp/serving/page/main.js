// Puts the page together: which network, light or dark, and what is said when something goes wrong.

import {call, setToken} from "/page/api.js";
import * as camera from "/page/camera.js";
import {element, part} from "/page/dom.js";
import * as image from "/page/image.js";
import * as look from "/page/look.js";
import * as text from "/page/text.js";

const night = matchMedia("(prefers-color-scheme: dark)");
let models = [];

function report(error) {
  part("problem").hidden = !error;
  part("problem").textContent = error ? error.message : "";
  if (error?.status === 401 || error?.status === 403) part("ask").hidden = false;
}

async function begin() {
  try {
    ({models} = await call("/v1/models"));
  } catch (error) {
    report(error);
    return;
  }
  report(null);
  part("ask").hidden = true;
  if (!models.length) {
    part("status").textContent = "The networks are not loaded yet.";
    setTimeout(begin, 400);
    return;
  }
  part("model").replaceChildren(...models.map(({name}) => element("option", name)));
  part("pick").hidden = false;
  part("code").hidden = false;
  chosen();
}

function chosen() {
  const model = models[part("model").selectedIndex], translates = model.operations.includes("translate");
  part("facts").textContent = model.about.join(" \u00b7 ").replace("->", "\u2192");
  part("images").hidden = translates;
  part("text").hidden = !translates;
  report(null);
  if (translates) {
    text.begin(model, report);
  } else {
    image.begin(model, report); // it sets the size that `look` reads
    look.begin(model, report);
  }
  coded(model);
}

function coded(model) {
  const [operation] = model.operations, at = `${location.origin}/v1/${operation}?${new URLSearchParams({model: model.name})}`;
  const name = JSON.stringify(model.name), client = `Client(${JSON.stringify(location.origin)})`;
  const textual = operation === "translate";
  const type = textual ? "text/plain" : "image/jpeg", file = textual ? "sentences.txt" : "photo.jpg";
  part("curl").textContent = `curl --data-binary @${file} -H 'Content-Type: ${type}' '${at}'`;
  const input = textual ? '["one", "two"]' : '["photo.jpg"]';
  part("python").textContent =
    `from resmlp.serving import Client\n\n${client}.${operation}(${input}, model=${name})`;
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : night.matches;
}

function themed() { part("theme").textContent = isDark() ? "Light" : "Dark"; }

part("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  themed();
  try {
    localStorage.setItem("resmlp-theme", theme);
  } catch { /* storage is off */ }
});
part("model").addEventListener("change", chosen);
part("ask").addEventListener("submit", event => {
  event.preventDefault();
  setToken(part("token").value);
  begin();
});
night.addEventListener("change", themed);
themed();
camera.begin(report);
begin();
