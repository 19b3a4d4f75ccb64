"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const off = new Map(charts.map((chart) => [chart.id, new Set()]));
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const seriesOf = (plot, i) => all(`svg[data-plot="${plot}"] .series[data-series="${i}"]`);
  const keysOf = (plot) => all(`.key[data-plot="${plot}"][data-series]`);

  // Keys: a click switches a line off or on, a hovered key's line stands out.
  const show = (plot, i, on) => {
    off.get(plot)[on ? "delete" : "add"](i);
    seriesOf(plot, i).forEach((group) => group.classList.toggle("off", !on));
    keysOf(plot)[i].setAttribute("aria-pressed", on);
  };
  for (const key of all(".key[data-series]")) {
    const plot = key.dataset.plot, i = Number(key.dataset.series);
    key.addEventListener("click", () => { show(plot, i, off.get(plot).has(i)); save(); });
    const stand_out = (on) => keysOf(plot).forEach((_, other) => {
      if (other !== i) seriesOf(plot, other).forEach((group) => group.classList.toggle("faint", on));
    });
    key.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && stand_out(true));
    key.addEventListener("pointerleave", () => stand_out(false));
  }
  for (const key of all(".key.all")) {
    key.addEventListener("click", () => {
      const plot = key.dataset.plot, on = off.get(plot).size > 0;
      keysOf(plot).forEach((_, i) => show(plot, i, on));
      save();
    });
  }

  // Tooltips: on the curves, every line's value at the pointer's place; elsewhere, the nearest point.
  const scale = (text) => {
    const [low, high, from, to, log] = text.split(",").map(Number);
    const place = (value) => (log ? Math.log(value) : value);
    const span = (place(high) - place(low)) / (to - from);
    return {
      unit: (value) => from + (place(value) - place(low)) / span,
      value: (unit) => { const at = place(low) + (unit - from) * span; return log ? Math.exp(at) : at; },
      from, to,
    };
  };
  const nearest = (line, x) => {
    let low = 0, high = line.length - 1;
    while (high - low > 1) { const middle = (low + high) >> 1; if (line[middle][0] < x) low = middle; else high = middle; }
    return Math.abs(line[low][0] - x) <= Math.abs(line[high][0] - x) ? line[low] : line[high];
  };
  const number = (value) => (Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4))));
  const row = (style, name, value) => {
    const line = document.createElement("span"), figure = document.createElement("em");
    line.setAttribute("style", style);
    line.append(name);
    figure.textContent = value;
    line.append(figure);
    return line;
  };
  const head = (text) => { const line = document.createElement("b"); line.textContent = text; return line; };
  const draw = (parent, name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    parent.append(element);
  };
  for (const svg of all("svg.plot")) {
    const chart = charts.find((chart) => chart.id === svg.dataset.plot);
    const x = scale(svg.dataset.x), y = scale(svg.dataset.y);
    const styles = all(".series", svg).map((group) => group.getAttribute("style"));
    const marks = document.createElementNS("http://www.w3.org/2000/svg", "g");
    marks.setAttribute("pointer-events", "none");
    svg.append(marks);
    const visible = () => chart.series.map((series, i) => ({ ...series, i })).filter(({ i }) => !off.get(chart.id).has(i));
    const at_line = (px) => {
      const value = x.value(Math.min(Math.max(px, x.from), x.to));
      const lines = visible().filter(({ line }) => line.length > 0);
      const found = lines.map(({ name, line, i }) => ({ name, i, point: nearest(line, value) }));
      if (found.length === 0) return null;
      found.sort((a, b) => a.point[1] - b.point[1]);
      const at = x.unit(nearest(lines.reduce((a, b) => (a.line.length >= b.line.length ? a : b)).line, value)[0]);
      draw(marks, "path", { d: `M${at} ${y.from}V${y.to}`, stroke: "var(--muted)", "stroke-dasharray": "2 3" });
      for (const { i, point } of found) {
        draw(marks, "circle", { cx: x.unit(point[0]), cy: y.unit(point[1]), r: 4, class: "series", style: styles[i], fill: "var(--c)" });
      }
      return [head(`${number(value)} ${chart.x.label}`), ...found.map(({ name, i, point }) => row(styles[i], name, point[1].toFixed(4)))];
    };
    const at_point = (px, py) => {
      const points = visible().flatMap(({ name, marks, i }) => marks.map((mark) => ({ ...mark, i, series: name })));
      if (points.length === 0) return null;
      const far = (point) => Math.hypot(x.unit(point.x) - px, y.unit(point.y) - py);
      const best = points.reduce((a, b) => (far(a) <= far(b) ? a : b));
      if (far(best) > 60) return null;
      draw(marks, "circle", { cx: x.unit(best.x), cy: y.unit(best.y), r: 9, fill: "none", stroke: "var(--text)", "stroke-width": 2 });
      return [head(best.name), row(styles[best.i], best.series, best.y.toFixed(5)), head(`${number(best.x)} ${chart.x.label}`)];
    };
    const leave = () => { tip.hidden = true; marks.replaceChildren(); };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
      const px = (event.clientX - box.left) * view.width / box.width, py = (event.clientY - box.top) * view.height / box.height;
      marks.replaceChildren();
      const lines = chart.id === "curves" ? at_line(px) : at_point(px, py);
      if (!lines) return leave();
      tip.replaceChildren(...lines);
      tip.hidden = false;
      const { offsetWidth: width, offsetHeight: height } = tip;
      const left = event.clientX + 16 + width > innerWidth ? event.clientX - 16 - width : event.clientX + 16;
      tip.style.left = `${Math.max(4, left)}px`;
      tip.style.top = `${Math.max(4, Math.min(event.clientY + 16, innerHeight - height - 4))}px`;
    });
    svg.addEventListener("pointerleave", leave);
  }

  // The table: a click on a heading sorts by it, another one the other way round. What is empty stays at the end.
  const sort = (heading, up) => {
    const table = heading.closest("table"), body = table.tBodies[0], column = heading.cellIndex;
    const key = (line) => line.cells[column].dataset.value;
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const [x, y] = [Number(a), Number(b)];
      const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
      return up ? order : -order;
    };
    body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
    all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  };
  for (const button of all("th button")) {
    const heading = button.closest("th");
    button.addEventListener("click", () => {
      sort(heading, heading.getAttribute("aria-sort") !== "ascending");
      save();
    });
  }

  // Pictures and maps: each of the two places shows the chosen run.
  for (const select of all("select[data-shows]")) {
    const put = () => {
      const source = document.getElementById(`${select.dataset.shows}-${select.value}`);
      const place = document.getElementById(select.dataset.place);
      place.replaceChildren(...[...source.children].map((child) => child.cloneNode(true)));
    };
    select.addEventListener("change", () => { put(); save(); });
  }

  // While a run goes on, the page loads itself again, and by then may have other lines and columns: what the reader
  // chose is kept by name, as long as the tab is open. A browser may refuse to keep anything.
  const place = `resconv:${location.pathname}`;
  const selects = () => all("select[data-shows]");
  function save() {
    const heading = document.querySelector("th[aria-sort]");
    const names = (chart) => [...off.get(chart.id)].map((i) => chart.series[i].name);
    const state = {
      sort: heading && [heading.textContent, heading.getAttribute("aria-sort") === "ascending"],
      off: Object.fromEntries(charts.map((chart) => [chart.id, names(chart)])),
      shown: selects().map((select) => select.selectedOptions[0].textContent),
      open: all("details").map((details) => details.open),
      scroll: [scrollX, scrollY],
    };
    try { sessionStorage.setItem(place, JSON.stringify(state)); } catch { /* it is not kept */ }
  }
  const restore = (state) => {
    const heading = all("th").find((heading) => heading.textContent === state.sort?.[0]);
    if (heading) sort(heading, state.sort[1]);
    for (const chart of charts) {
      chart.series.forEach(({ name }, i) => { if (state.off[chart.id]?.includes(name)) show(chart.id, i, false); });
    }
    selects().forEach((select, i) => {
      const option = [...select.options].find((option) => option.textContent === state.shown[i]);
      if (!option || option.selected) return;
      option.selected = true;
      select.dispatchEvent(new Event("change"));
    });
    all("details").forEach((details, i) => { details.open = state.open[i] ?? false; });
    scrollTo(...state.scroll);
  };
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem(place)); } catch { /* nothing was kept */ }
  if (kept) restore(kept);
  addEventListener("pagehide", save);
})();
