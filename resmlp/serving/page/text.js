// The translation box.

import {sendText} from "/page/api.js";
import {part} from "/page/dom.js";

const state = {model: null, report: () => {}};

export function begin(model, report) {
  const languages = model.about[1].replace("->", "\u2192");
  Object.assign(state, {model, report});
  part("source-label").textContent = `Sentences, one a line (${languages})`;
}

async function translate() {
  const lines = part("source").value.split("\n");
  if (!lines.some(line => line.trim())) return;
  const button = part("translate");
  button.disabled = true;
  state.report(null);
  try {
    const {translations} = await sendText(lines, state.model.name);
    part("target").textContent = translations.map(({text}) => text).join("\n");
  } catch (error) {
    state.report(error);
  } finally {
    button.disabled = false;
  }
}

part("translate").addEventListener("click", translate);
part("source").addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) translate();
});
