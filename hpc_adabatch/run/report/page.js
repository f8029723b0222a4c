// What the page does beside Bokeh: the axis of x, the zoom, and colours for light and dark. Colours are names in the tags of
// Bokeh's models (sheet.py) and have their values from page.css.
"use strict";
(() => {
  const labels = JSON.parse(document.getElementById("axes").textContent); // {samples: {label, end}, ...}
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)");
  const buttons = [...document.querySelectorAll("[data-axis]")];
  const reset = document.getElementById("reset");
  let models = [];

  function tagged(name) {
    return models.filter((model) => model.tags && model.tags[0] && model.tags[0][name]);
  }

  function colour() {
    const style = getComputedStyle(document.documentElement);
    for (const model of tagged("colours")) {
      for (const [property, name] of Object.entries(model.tags[0].colours)) {
        const value = style.getPropertyValue(`--${name}`).trim();
        const vector = model[property] !== null && typeof model[property] === "object" && !Array.isArray(model[property]);
        model[property] = vector ? { value } : value;
      }
    }
  }

  function over(axis) {
    const chosen = labels[axis];
    for (const model of tagged("x")) {
      for (const [property, suffix] of Object.entries(model.tags[0].x)) model[property] = { field: axis + suffix };
    }
    for (const model of models) if (model.name === "x" && "axis_label" in model) model.axis_label = chosen.label;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.axis === axis));
    whole(axis);
  }

  function whole(axis) {
    const range = models.find((model) => model.name === "x" && "start" in model);
    range.setv({ start: 0, end: labels[axis].end });
  }

  function begin(document_) {
    models = [...document_._all_models.values()];
    const range = models.find((model) => model.name === "x" && "start" in model);
    const now = () => buttons.find((button) => button.getAttribute("aria-pressed") === "true").dataset.axis;
    colour();
    dark.addEventListener("change", colour);
    for (const button of buttons) button.addEventListener("click", () => over(button.dataset.axis));
    reset.addEventListener("click", () => whole(now()));
    const zoomed = () => { reset.disabled = range.start === 0 && range.end === labels[now()].end; };
    range.change.connect(zoomed);
    zoomed();
    if (coarse.matches) { // a finger that moves over a chart scrolls the page
      for (const model of models) if ("active_drag" in model) model.active_drag = null;
    }
  }

  function wait() {
    const found = window.Bokeh && window.Bokeh.documents[0];
    if (found) begin(found);
    else window.requestAnimationFrame(wait);
  }
  wait();
})();
