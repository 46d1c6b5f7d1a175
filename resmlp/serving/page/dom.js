// Small helpers. Text from outside reaches the page as text alone.

export const part = id => document.getElementById(id);

export function element(tag, content = "", kind = "") {
  const made = document.createElement(tag);
  made.textContent = content;
  if (kind) made.className = kind;
  return made;
}

export function percent(share) { return `${(100 * share).toFixed(share >= 0.9995 ? 0 : 1)} %`; }

export function signed(number) {
  return number === 0 ? "0" : (number > 0 ? "+" : "\u2212") + Math.abs(number).toPrecision(2);
}

export function color(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
