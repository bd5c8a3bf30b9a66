// Replaces what the page shows by what the node sends each second. Without this
// script the page is as of the moment in which it was loaded.
"use strict";
const main = document.querySelector("main[data-live]");
const state = document.getElementById("state");
const source = new EventSource(main.dataset.live);
source.onmessage = (event) => {
  // A form that somebody is typing into must not be replaced under the fingers.
  if (main.contains(document.activeElement) && /^(INPUT|SELECT)$/.test(document.activeElement.tagName)) {
    return;
  }
  const at = [...main.querySelectorAll(".wide")].map((box) => box.scrollLeft);
  main.innerHTML = event.data;
  main.querySelectorAll(".wide").forEach((box, i) => { box.scrollLeft = at[i] || 0; });
  state.textContent = "live, " + new Date(Date.now()).toISOString().slice(11, 19) + " UTC";
};
source.onerror = () => { state.textContent = "not live: no connection to the node"; };
