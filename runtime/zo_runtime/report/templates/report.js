"use strict";
// Tooltips: the values nearest to the pointer, a finger, or the arrow keys. The page says all else without this.
for (const figure of document.querySelectorAll("figure")) {
  const layers = JSON.parse(figure.querySelector("script.points").textContent);
  const steps = [...new Set(layers.flatMap((layer) => layer.x))].sort((a, b) => a - b);
  const tip = figure.querySelector(".tip");

  const nearest = (sorted, value) => {
    let low = 0, high = sorted.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value) low = middle; else high = middle;
    }
    return value - sorted[low] <= sorted[high] - value ? low : high;
  };
  const time = figure.querySelector("svg.wide").dataset.axis === "time";
  const place = (x) => time ? new Date(1000 * x).toISOString().slice(0, 19).replace("T", " ") + " UTC" : "step " + x.toLocaleString("en");
  const text = (layer, step) => {
    const at = nearest(layer.x, step), y = layer.y[at];
    const value = layer.unit === "percent" ? (100 * y).toFixed(1) + "%" : String(Number(y.toPrecision(4))).replace("-", "\u2212");
    const where = layer.rule || layer.x[at] === step ? "" : " (" + place(layer.x[at]) + ")";
    return layer.label + " " + value + where;
  };

  for (const svg of figure.querySelectorAll("svg.wide, svg.narrow")) {
    const { low, high, left, right } = Object.fromEntries(Object.entries(svg.dataset).map(([k, v]) => [k, Number(v)]));
    const guide = svg.querySelector(".guide");
    let current = -1;

    const show = (index) => {
      current = Math.max(0, Math.min(steps.length - 1, index));
      const step = steps[current], share = (step - low) / (high - low);
      const x = left + share * (right - left);
      guide.setAttribute("x1", x);
      guide.setAttribute("x2", x);
      guide.classList.add("on");
      tip.textContent = [place(step), ...layers.map((layer) => text(layer, step))].join("\n");
      tip.hidden = false;
      // Beside the guide, on the side with more room.
      const card = figure.getBoundingClientRect(), box = svg.getBoundingClientRect();
      const at = box.left - card.left + x * box.width / svg.viewBox.baseVal.width;
      tip.style.top = box.top - card.top + 4 + "px";
      tip.style.left = share < 0.5 ? at + 10 + "px" : "auto";
      tip.style.right = share < 0.5 ? "auto" : card.width - at + 10 + "px";
    };
    const hide = () => {
      guide.classList.remove("on");
      tip.hidden = true;
      current = -1;
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
      show(nearest(steps, low + (x - left) / (right - left) * (high - low)));
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const last = steps.length - 1;
      const target = {
        ArrowRight: current + 1, ArrowLeft: current < 0 ? last : current - 1, Home: 0, End: last,
        PageDown: current + Math.ceil(steps.length / 20), PageUp: current - Math.ceil(steps.length / 20),
      }[event.key];
      if (event.key === "Escape") hide();
      if (target === undefined) return;
      event.preventDefault();
      show(target);
    });
  }
}
