"use strict";
// Before the page is drawn, so that it does not flash. What the reader chose is kept in this browser.
try {
  const kept = localStorage.getItem("resmlp-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch { /* storage is off */ }
