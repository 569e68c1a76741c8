"use strict";
// Counts down between refreshes, and fetches the page anew without losing the place on it.
const words = (s) => {
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (s <= 0) return "expired";
  if (d > 0) return `${d} d ${h} h`;
  if (h > 0) return `${h} h ${m} min`;
  return m > 0 ? `${m} min ${s % 60} s` : `${s} s`;
};
let shown = performance.now();
const tick = () => {
  const passed = Math.floor((performance.now() - shown) / 1000);
  for (const cell of document.querySelectorAll("[data-left]")) {
    cell.textContent = words(Math.max(0, cell.dataset.left - passed));
  }
};
const refresh = async () => {
  try {
    // A server that hangs takes connections and says nothing.
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(4000) });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(document.adoptNode(fresh.querySelector("main")));
    document.title = fresh.title;
    shown = performance.now();
  } catch {
    document.title = "no answer · sds-server";
    document.querySelector("#state").textContent = "no answer";
    document.querySelector("#state").className = "pill bad";
  }
};
setInterval(tick, 1000);
setInterval(refresh, 5000);
