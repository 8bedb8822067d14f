"use strict";
// Charts with values to point at, tables to sort, arms to hide, examples. What users wrote is text, never markup.
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (each) => each.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = JSON.parse(await new Response(unpacked).text());
  const SVG = new DOMParser().parseFromString("<svg/>", "text/html").querySelector("svg").namespaceURI;
  const DASHES = ["", "6 3", "8 3 2 3", "2 3", "6 2 2 2 2 2"];
  const [hidden, redraws] = [new Set(), []];
  const fill = (element, attributes, children) => (
    Object.entries(attributes).forEach((each) => element.setAttribute(...each)), element.append(...children), element);
  const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
  const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
  const place = (arm) => Math.max(0, data.arms.indexOf(arm));
  const colour = (arm, look) => data.colours[look === "best" ? 1 : place(arm) % data.colours.length];
  const dash = ({ arm, look }) => (look === "dashed" ? "4 3" : DASHES[place(arm) % DASHES.length]);
  const fixed = (value) => (Math.abs(value) < 0.005 ? 0 : value).toFixed(2);
  const cut = (text, width) => (text.length * 6.6 > width ? `${text.slice(0, Math.max(3, width / 6.6 - 1))}…` : text);
  const press = (text) => make("button", { type: "button" }, text);
  const listen = (element, event, react) => (element.addEventListener(event, react), element);
  const choice = (label, options, change) => {
    const select = make("select", {}, ...options.map(([value, text]) => make("option", { value }, text)));
    return [listen(select, "change", change), make("label", {}, `${label} `, select)];
  };
  const nearest = (all, at) => all.reduce((best, x, i) => (Math.abs(x - at) <= Math.abs(all[best] - at) ? i : best), 0);
  // ---- axes
  const KINDS = {
    linear: (value) => value,
    log: (value) => Math.log10(value),
    symlog: (value) => (Math.abs(value) <= 1 ? value : Math.sign(value) * (1 + Math.log10(Math.abs(value)))),
  };
  const scale = (values, from, to, kind) => {
    const turn = KINDS[kind];
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (low === high) [low, high] = kind === "log" ? [low / 1.1, high * 1.1] : [low - 0.5, high + 0.5];
    const margin = (turn(high) - turn(low)) * 0.05;
    const [start, end] = [turn(low) - margin, turn(high) + margin];
    const at = (value) => from + ((turn(value) - start) / (end - start)) * (to - from);
    const even = kind === "linear" ? [start, end] : low > 0 && high < 5 * low && [low, high];
    at.ticks = thin(even ? steps(...even, Math.abs(to - from)) : powers(low, high), at);
    return at;
  };
  const SIZES = [...Array(15).keys()].flatMap((power) => [1, 2, 5].map((each) => Number(`${each}e${power - 8}`)));
  const steps = (low, high, length) => {
    const step = SIZES.find((each) => each >= (high - low) / Math.max(2, length / 55)) ?? high - low;
    const count = Math.max(0, Math.floor(high / step) - Math.ceil(low / step) + 1);
    return Array.from({ length: count }, (_, i) => Number(((Math.ceil(low / step) + i) * step).toPrecision(12)));
  };
  const powers = (low, high) => [0, ...SIZES, ...SIZES.map((size) => -size)].filter((at) => at >= low && at <= high);
  const thin = (ticks, at) => // the smallest first, and others where there is room
    ticks.sort((one, other) => Math.abs(one) - Math.abs(other)).reduce((kept, tick) =>
      (kept.every((each) => Math.abs(at(each) - at(tick)) >= 28) ? [...kept, tick] : kept), []);
  const write = (x, y, text, anchor = "start") => draw("text", { class: "faint", x, y, "text-anchor": anchor }, text);
  const seed = (cx, cy, fill) => draw("circle", { cx, cy, r: 3.2, fill, opacity: 0.6 });
  // ---- one dot per seed
  const drawDots = (chart, width, label, say) => {
    const narrow = Math.min(190, width * 0.36);
    const svg = draw("svg", { class: "plot", role: "group", "aria-label": label });
    let top = 4;
    for (const strip of chart.strips) {
      const rows = strip.rows.filter((row) => !hidden.has(row.arm));
      svg.append(draw("text", { x: 0, y: top + 12, "font-weight": 600 }, cut(strip.title, width)));
      top += strip.title ? 20 : 0;
      const high = rows.some((row) => row.note) ? 34 : 24;
      const bottom = top + rows.length * high;
      const every = [strip.line, ...rows.flatMap((row) => [...row.values, row.low ?? row.mean, row.high ?? row.mean])];
      const sizes = rows.map((row) => Math.abs(row.mean - strip.line)).sort((one, other) => one - other);
      const far = strip.line === 0 && sizes.at(-1) > Math.max(1, 8 * sizes[Math.floor(sizes.length / 2)]);
      const ends = strip.reversed ? [width - 56, narrow + 8] : [narrow + 8, width - 56];
      const at = scale(every, ...ends, far ? "symlog" : "linear");
      const upright = (x, kind) => draw("line", { class: kind, x1: x, x2: x, y1: top, y2: bottom });
      for (const tick of at.ticks)
        svg.append(upright(at(tick), "axis"), write(at(tick), bottom + 14, `${tick}`, "middle"));
      svg.append(upright(at(strip.line), "line"));
      rows.forEach((row, i) => svg.append(dotRow(row, strip, top + (i + 0.5) * high, at, narrow, width, say)));
      svg.append(write(0, bottom + 30, cut(`${strip.label}${far ? ", logarithmic beyond 1" : ""}`, width)));
      top = bottom + 42;
    }
    return fill(svg, { viewBox: `0 0 ${width} ${top}` }, []);
  };
  const dotRow = (row, strip, y, at, narrow, width, say) => {
    const range = row.low === null ? "" : `, ${fixed(row.low)} to ${fixed(row.high)}`;
    const seeds = row.values.map((value, i) => `seed ${strip.seeds[i]}: ${fixed(value)}`).join(", ");
    const mean = `${strip.line === 0 && seeds && row.mean > 0 ? "+" : ""}${fixed(row.mean)}`;
    const told = `${row.arm}${row.note ? ` (${row.note})` : ""}: ${seeds ? `mean ${mean}${range}; ${seeds}` : mean}`;
    const group = draw("g", { tabindex: 0, role: "img", "aria-label": told });
    for (const event of ["mouseenter", "focus", "click"]) listen(group, event, () => say(told));
    group.append(
      draw("rect", { x: 0, y: y - 12, width, height: 24, fill: "transparent" }),
      draw("text", { x: 0, y: row.note ? y - 2 : y + 4 }, cut(row.arm, narrow)),
      draw("text", { x: width, y: y + 4, "text-anchor": "end" }, mean),
    );
    const note = { x: 0, y: y + 12, class: row.tone || "faint", "font-size": 11 };
    if (row.note) group.append(draw("text", note, cut(row.note, narrow)));
    const paint = { stroke: colour(row.arm), fill: colour(row.arm) };
    const lift = (i) => (row.values.length > 1 ? (i / (row.values.length - 1) - 0.5) * 8 : 0);
    const stroke = (from, to, half) => // from one value to another, or upright
      draw("line", { ...paint, x1: at(from), x2: at(to), y1: y - half, y2: y + half, "stroke-width": half ? 2.4 : 2 });
    group.append(...row.values.map((value, i) => seed(at(value), y + lift(i), paint.fill)));
    return group.append(row.low === null ? "" : stroke(row.low, row.high, 0), stroke(row.mean, row.mean, 8)), group;
  };
  // ---- learning curves
  const drawCurves = (chart, width, label, say, axis) => {
    const curves = chart.curves.filter((curve) => !hidden.has(curve.arm));
    const height = 250;
    const svg = draw("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
    if (!curves.length) return svg;
    const every = [chart.levels, ...curves.flatMap((curve) => [curve.low, curve.high, curve.values])].flat();
    const far = Math.min(...every) > 0 && Math.max(...every) >= 5 * Math.min(...every);
    const stops = [...new Set(curves.flatMap((curve) => curve.x[axis]))].sort((one, other) => one - other);
    const x = scale([...stops, ...chart.band], 46, width - 10, chart.log ? "log" : "linear");
    const y = scale(every, height - 36, 20, far ? "log" : "linear");
    svg.append(...x.ticks.map((tick) => write(x(tick), height - 20, `${tick}`, "middle")));
    const level = { class: "axis", x1: 46, x2: width - 10 };
    for (const tick of y.ticks)
      svg.append(draw("line", { ...level, y1: y(tick), y2: y(tick) }), write(40, y(tick) + 4, `${tick}`, "end"));
    const about = cut(`${chart.label}${far ? ", log scale" : ""}`, width);
    const below = write(width - 10, height - 4, `${axis}${chart.log ? ", log scale" : ""}`, "end");
    svg.append(write(0, 12, about), below);
    const [left, right] = chart.band.map(x);
    const shade = { d: `M${left} 20H${right}V${height - 36}H${left}Z`, fill: data.colours[1], stroke: data.colours[1] };
    if (chart.band.length) svg.append(draw("path", { ...shade, opacity: 0.15 }));
    for (const at of chart.levels) svg.append(draw("line", { ...level, class: "line", y1: y(at), y2: y(at) }));
    const through = chart.joined ? curves.map((curve) => `${x(curve.x[axis][0])},${y(curve.mean[0])}`) : [];
    svg.append(draw("polyline", { points: through.join(" "), class: "axis", fill: "none" }));
    for (const curve of curves) {
      const points = (values) => values.map((value, i) => `${x(curve.x[axis][i])},${y(value)}`);
      const band = [...points(curve.low), ...points(curve.high).reverse()].join(" ");
      const paint = colour(curve.arm, curve.look);
      const line = { fill: "none", stroke: paint, "stroke-width": 1.8, "stroke-dasharray": dash(curve) };
      const [end, seeds] = [x(curve.x[axis].at(-1)), curve.values];
      const bar = seeds.length > 1 ? `M${end - 6} ${y(curve.mean[0])}h12` : "";
      svg.append(
        draw("polygon", { points: band, fill: paint, "fill-opacity": 0.15, stroke: seeds.length ? paint : "none" }),
        draw("polyline", { points: points(curve.mean).join(" "), ...line }),
        draw("path", { d: bar, stroke: paint, "stroke-width": 2.4 }),
        ...(seeds.length ? seeds : curve.mean.slice(-1)).map((value) => seed(end, y(value), paint)),
      );
    }
    let [stop, cursor] = [-1, draw("line", { class: "line", y1: 20, y2: height - 36, x1: -9, x2: -9 })];
    const move = (index) => {
      stop = Math.max(0, Math.min(stops.length - 1, index));
      const at = stops[stop];
      for (const side of ["x1", "x2"]) cursor.setAttribute(side, x(at));
      const within = curves.filter((curve) => curve.x[axis][0] <= at && curve.x[axis].at(-1) >= at);
      const range = ({ low, high, values }) => (values.length > 1 ? ` (${fixed(low[0])} to ${fixed(high[0])})` : "");
      const mean = (curve) => fixed(curve.mean[nearest(curve.x[axis], at)]);
      const read = within.map((curve) => `${curve.arm} ${mean(curve)}${range(curve)}`);
      const more = read.splice(24).length;
      const where = `${axis} ${Number(Math.abs(at) < 1 ? at.toPrecision(3) : at.toFixed(1))}`;
      say(`${where}: ${read.join(", ")}${more ? ` and ${more} more` : ""}`);
    };
    fill(svg, { tabindex: 0, role: "img", "aria-label": `${label} The left and right arrow keys read values.` }, [cursor]);
    listen(svg, "keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by) event.preventDefault(), move(stop + by);
    });
    return listen(svg, "pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      move(nearest(stops.map(x), ((event.clientX - box.left) / box.width) * width));
    });
  };
  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const chart = data.charts[Number(figure.dataset.chart)];
    const reading = make("p", { class: "reading", "aria-live": "polite" });
    const axes = chart.kind === "curves" ? Object.keys(chart.curves[0].x) : [];
    const redraw = () => {
      const say = (text) => (reading.textContent = text);
      const [picture, caption] = ["svg", "figcaption"].map((each) => figure.querySelector(each));
      const drawn = chart.kind === "dots" ? drawDots : drawCurves;
      picture.replaceWith(drawn(chart, Math.max(280, figure.clientWidth), caption.textContent, say, select.value));
    };
    const [select, label] = choice("By", axes.map((axis) => [axis, axis]), redraw);
    if (axes.length > 1) figure.prepend(label);
    figure.querySelector("figcaption").before(reading);
    redraws.push(redraw);
  }
  // ---- arms to show and hide
  const show = () => {
    for (const table of document.querySelectorAll("table")) {
      const gone = (text) => [text, ...text.split(" − ")].some((each) => hidden.has(each)); // of one arm or of two
      const off = [...table.tHead.rows[0].cells].map((cell) => hidden.has(cell.textContent.replace(/^− /, "")));
      for (const row of table.tBodies[0].rows) row.hidden = gone(row.cells[0].textContent);
      for (const row of table.rows) [...row.cells].forEach((cell, i) => { cell.hidden = off[i]; });
    }
    for (const redraw of redraws) redraw();
  };
  if (data.arms.length > 1) {
    const set = make("fieldset", { class: "arms" }, make("legend", {}, "Arms shown"));
    for (const arm of data.arms) {
      const button = fill(press(arm), { "aria-pressed": "true", title: arm }, []);
      button.style.setProperty("--arm", colour(arm));
      listen(button, "click", () => {
        if (!hidden.delete(arm)) hidden.add(arm);
        button.setAttribute("aria-pressed", String(!hidden.has(arm)));
        show();
      });
      set.append(button);
    }
    (document.querySelector(".figures") ?? document.querySelector("h1")).after(set);
  }
  // ---- tables to sort
  const number = (text) => text.replaceAll("−", "-").replaceAll(",", "").match(/[-+]?\d+(\.\d+)?(e-?\d+)?/)?.[0];
  for (const table of document.querySelectorAll(".scroll table")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((cell, index) => {
      const button = press(cell.textContent);
      cell.replaceChildren(button);
      listen(button, "click", () => {
        const up = cell.ariaSort !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", up ? "ascending" : "descending");
        const numeric = cell.classList.contains("number");
        const key = (row) => (numeric ? number(row.cells[index].textContent) : row.cells[index].textContent);
        const compare = (one, other) => (numeric ? one - other : one.localeCompare(other)) * (up ? 1 : -1);
        body.append(...[...body.rows].sort((one, other) => // what is empty comes last, either way
          key(one) && key(other) ? compare(key(one), key(other)) : Boolean(key(other)) - Boolean(key(one))));
      });
    });
  }
  // ---- examples: an output's symbols against the reference's, by the longest common subsequence
  const compared = (one, other) => {
    if (one.length * other.length > 250000) return one.map((symbol) => ["", symbol]);
    const table = Array.from({ length: one.length + 1 }, () => new Uint16Array(other.length + 1));
    for (let i = one.length - 1; i >= 0; i -= 1)
      for (let j = other.length - 1; j >= 0; j -= 1)
        table[i][j] = one[i] === other[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    const parts = [];
    for (let i = 0, j = 0; i < one.length || j < other.length; ) {
      if (i < one.length && j < other.length && one[i] === other[j]) {
        parts.push(["", one[i++]]);
        j += 1;
      } else if (i < one.length && (j >= other.length || table[i + 1][j] >= table[i][j + 1]))
        parts.push(["mark", one[i++]]);
      else parts.push(["del", other[j++]]);
    }
    return parts;
  };
  const symbols = (text) => (text ? text.split(" ") : []);
  const marked = (output, reference) => make("bdi", { dir: "auto" }, ...compared(symbols(output), symbols(reference))
    .flatMap(([kind, text]) => [kind ? make(kind, {}, text) : text, " "]));
  for (const box of document.querySelectorAll("[data-browser]")) {
    const { arms, seeds, baseline, examples } = data.browsers[Number(box.dataset.browser)];
    const of = (example, arm) => // `chosen` has a text of numbers for every arm, one a seed
      example.outputs[example.chosen[arms.indexOf(arm)].split(" ")[seeds.indexOf(Number(seed.value))]];
    const right = (example, arm) => of(example, arm).edits === 0;
    const shown = () => arms.filter((arm) => !hidden.has(arm));
    const kept = (example) => {
      const [kind, arm] = [filter.value.slice(0, 1), arms[Number(filter.value.slice(1))]];
      const others = shown().filter((each) => kind === "w" || each !== arm);
      if (kind === "d") return new Set(shown().map((each) => of(example, each).text)).size > 1;
      return kind === "a" || ((kind === "w" || right(example, arm)) && others.every((each) => !right(example, each)));
    };
    const gain = (example, arm) => of(example, baseline).edits - of(example, arm).edits;
    let [first, list, status] = [0, make("div"), make("p", { class: "note", role: "status" })];
    const refresh = () => {
      const found = examples.filter(kept);
      const arm = order.value && arms[Number(order.value)];
      if (arm) found.sort((one, other) => gain(other, arm) - gain(one, arm));
      first = Math.max(0, Math.min(first, Math.floor((found.length - 1) / 10) * 10));
      const last = Math.min(first + 10, found.length);
      status.textContent = `${found.length ? first + 1 : 0} to ${last} of ${found.length} examples`;
      list.replaceChildren(...found.slice(first, last).map(card));
      [back.disabled, on.disabled] = [first === 0, last === found.length];
    };
    const card = (example) => {
      const lines = make("dl");
      for (const [name, text] of [["source", example.source], ...example.references.map((each) => ["reference", each])])
        lines.append(make("dt", {}, name), make("dd", {}, make("bdi", { dir: "auto" }, text)));
      for (const arm of shown()) {
        const output = of(example, arm);
        const verdict = output.edits ? `${output.edits} ${output.edits === 1 ? "edit" : "edits"}` : "right";
        const text = marked(output.text, example.references[output.nearest]);
        lines.append(make("dt", {}, arm), make("dd", {}, text, make("small", {}, ` ${verdict}`)));
      }
      return make("article", { class: "example", "aria-label": `Example ${example.number}` }, lines);
    };
    const again = () => (first = 0, refresh());
    const only = arms.map((arm, i) => [`o${i}`, `only ${arm} is right`]);
    const kinds = [["a", "all examples"], ["d", "arms disagree"], ...only, ["w", "all arms are wrong"]];
    const [filter, filters] = choice("Show", kinds, again);
    const gains = arms.flatMap((arm, i) => (arm === baseline ? [] : [[`${i}`, `gain of ${arm} over ${baseline}`]]));
    const [order, orders] = choice("Sort by", [["", "order in the test set"], ...gains], again);
    const [seed, every] = choice("Seed", seeds.map((each) => [`${each}`, `${each}`]), again);
    const turn = (text, by) => listen(press(text), "click", () => (first += by, refresh()));
    const [back, on] = [turn("← Previous", -10), turn("Next →", 10)];
    box.replaceChildren(make("div", { class: "controls" }, filters, orders, every, back, on), status, list);
    redraws.push(refresh);
  }
  const resized = () => {
    const [page, width] = [document.documentElement.dataset, `${document.body.clientWidth}`];
    if (page.drawn !== width) show();
    page.drawn = width;
    for (const box of document.querySelectorAll(".scroll"))
      box.tabIndex = box.classList.toggle("wide", box.scrollWidth > box.clientWidth + 1) ? 0 : -1;
  };
  listen(window, "resize", resized);
  resized();
})();
