// The canvas of the map. Points are drawn in one pass into a pixel buffer, which is fast for tens of thousands.

const PALETTE = ["#4269d0", "#e2873b", "#2f9e77", "#d6455d", "#8a5cc2", "#8c6d4f", "#d96bb0", "#6f7f8f", "#a3a12c", "#2a9db5"];
const SCALE = ["#3b2a8c", "#3f6fb5", "#2fa38a", "#9cc94b", "#f4d23c"];
const NO_GROUP_COLOUR = "#9aa0a8";

export class MapCanvas {
  // `on` has: select(rows), click(row), hover(number of the point or -1, x, y)
  constructor(canvas, on) {
    Object.assign(this, { canvas, on, context: canvas.getContext("2d", { alpha: false }), tool: "lasso", points: null });
    Object.assign(this, { zoom: 1, centre: [0, 0], lasso: [], outline: null, selected: null, hovered: -1 });
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.resize());
    this.addListeners();
  }

  // `selectedRows` stay selected; the outline of a lasso is drawn in the layout in which it was drawn.
  setPoints(points, layout, selectedRows = []) {
    const rows = new Set(selectedRows);
    Object.assign(this, { points, layout, selected: rows.size ? Uint8Array.from(points.row, (row) => rows.has(row)) : null });
    this.bounds = boundsOf(points);
    this.paint("cluster");
    this.resize();
    this.zoomToAll();
  }

  // --- colours: one 32-bit number for each point

  // `names` are those of all labels; with null, groups have the number of their label and no name.
  paint(by, names = []) {
    const { count, cluster, label, start } = this.points;
    this.by = by;
    this.colour = new Uint32Array(count);
    const groups = by === "time" ? timeGroups(start) : nameGroups(by === "cluster" ? cluster : label, by, names);
    this.group = groups.of;
    const packed = groups.list.map((group) => packColour(group.colour));
    for (let i = 0; i < count; i++) this.colour[i] = packed[this.group[i]];
    this.groups = groups.list;
    this.draw();
    return this.groups;
  }

  resize() {
    const ratio = devicePixelRatio || 1, box = this.canvas.getBoundingClientRect();
    if (!box.width) return;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    this.ratio = ratio;
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.paper = packColour(getComputedStyle(this.canvas).backgroundColor);
    this.dim = packColour(getComputedStyle(this.canvas).borderTopColor);
    this.draw();
  }

  scale() {
    const [, , wide, high] = this.bounds;
    return this.zoom * Math.min((0.92 * this.canvas.width) / wide, (0.9 * this.canvas.height) / high);
  }

  // --- drawing

  draw() {
    if (!this.points || !this.pixels || this.isDrawQueued) return;
    this.isDrawQueued = true;
    requestAnimationFrame(() => { this.isDrawQueued = false; this.drawNow(); });
  }

  drawNow() {
    const start_ms = performance.now();
    this.pixels.fill(this.paper);
    if (this.selected) { this.drawPoints(false); this.drawPoints(true); } else this.drawPoints(null);
    this.context.putImageData(this.image, 0, 0);
    this.drawLasso();
    if (this.hovered >= 0) this.drawRing(this.hovered);
    this.canvas.dataset.layout = this.layout;
    this.canvas.dataset.drawMs = (performance.now() - start_ms).toFixed(2);
  }

  // Draws all points (null), those not selected (false, dimmed), or the selected ones (true).
  drawPoints(isSelected) {
    const { width, height } = this.canvas, { count, xy } = this.points, { pixels, colour, selected } = this;
    const scale = this.scale(), x0 = width / 2 - this.centre[0] * scale, y0 = height / 2 + this.centre[1] * scale;
    const radius = Math.max(1, Math.round((count > 20000 ? 1 : count > 3000 ? 1.6 : 2.6) * this.ratio * Math.min(2, Math.sqrt(this.zoom))));
    const disc = discOffsets(radius, width), right = width - radius, below = height - radius;
    for (let i = 0; i < count; i++) {
      if (isSelected !== null && Boolean(selected[i]) !== isSelected) continue;
      const x = (x0 + xy[2 * i] * scale) | 0, y = (y0 - xy[2 * i + 1] * scale) | 0;
      if (x < radius || y < radius || x >= right || y >= below) continue;
      const pixel = y * width + x, ink = isSelected === false ? this.dim : colour[i];
      for (let k = 0; k < disc.length; k++) pixels[pixel + disc[k]] = ink;
    }
  }

  drawLasso() {
    const kept = this.outline?.layout === this.layout ? this.outline.xy.map(([x, y]) => this.mapToPixel(x, y)) : [];
    const line = this.lasso.length ? this.lasso : kept;
    this.canvas.dataset.outline = line.length;
    if (line.length < 2) return;
    const context = this.context;
    context.beginPath();
    for (const [x, y] of line) context.lineTo(x, y);
    context.closePath();
    context.lineWidth = 1.5 * this.ratio;
    context.strokeStyle = getComputedStyle(this.canvas).color;
    context.setLineDash([5 * this.ratio, 4 * this.ratio]);
    context.stroke();
    context.setLineDash([]);
  }

  drawRing(i) {
    const [x, y] = this.toPixel(i);
    this.context.beginPath();
    this.context.arc(x, y, 6 * this.ratio, 0, 7);
    this.context.lineWidth = 2 * this.ratio;
    this.context.strokeStyle = getComputedStyle(this.canvas).color;
    this.context.stroke();
  }

  toPixel(i) { return this.mapToPixel(this.points.xy[2 * i], this.points.xy[2 * i + 1]); }

  mapToPixel(x, y) {
    const scale = this.scale(), { width, height } = this.canvas;
    return [width / 2 + (x - this.centre[0]) * scale, height / 2 - (y - this.centre[1]) * scale];
  }

  pixelToMap([x, y]) {
    const scale = this.scale(), { width, height } = this.canvas;
    return [this.centre[0] + (x - width / 2) / scale, this.centre[1] - (y - height / 2) / scale];
  }

  // --- selection

  nearest(x, y, within) {
    let best = -1, least = within * within;
    for (let i = 0; i < this.points.count; i++) {
      const [px, py] = this.toPixel(i), d = (px - x) ** 2 + (py - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }

  // Selects the points that pass a test; `outline` is the lasso around them, in coordinates of the map.
  select(test, outline = null) {
    const { count, row } = this.points, rows = [];
    const selected = new Uint8Array(count);
    for (let i = 0; i < count; i++) if (test(i)) { selected[i] = 1; rows.push(row[i]); }
    Object.assign(this, { selected: rows.length ? selected : null, outline: rows.length && outline ? { layout: this.layout, xy: outline } : null });
    this.draw();
    this.on.select(rows);
  }

  selectGroup(number) { this.select((i) => this.group[i] === number); }

  selectLasso() {
    const area = this.lasso;
    const [xs, ys] = [area.map((p) => p[0]), area.map((p) => p[1])];
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    this.lasso = [];
    this.select((i) => {
      const [x, y] = this.toPixel(i);
      return x >= left && x <= right && y >= top && y <= bottom && isInside(x, y, area);
    }, area.map((point) => this.pixelToMap(point)));
  }

  // --- pointer, wheel and keys

  addListeners() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.end(event));
    canvas.addEventListener("pointercancel", () => { this.down = null; this.lasso = []; this.draw(); });
    canvas.addEventListener("pointerleave", () => this.hover(-1, 0, 0));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey && document.activeElement !== canvas) return; // the page scrolls
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 300), ...this.eventPixel(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  eventPixel(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
  }

  begin(event) {
    if (!this.points || event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.down = { at: this.eventPixel(event), centre: [...this.centre], moved: false };
    this.lasso = this.tool === "lasso" ? [this.down.at] : [];
  }

  move(event) {
    if (!this.points) return;
    const [x, y] = this.eventPixel(event);
    if (!this.down) return this.hover(this.nearest(x, y, 10 * this.ratio), event.offsetX, event.offsetY);
    const [dx, dy] = [x - this.down.at[0], y - this.down.at[1]];
    if (Math.hypot(dx, dy) > 4 * this.ratio) this.down.moved = true;
    if (this.tool === "lasso") this.lasso.push([x, y]);
    else this.centre = [this.down.centre[0] - dx / this.scale(), this.down.centre[1] + dy / this.scale()];
    this.draw();
  }

  end(event) {
    if (!this.down) return;
    const { moved } = this.down, clicked = this.nearest(...this.eventPixel(event), 10 * this.ratio);
    this.down = null;
    if (!moved) {
      this.lasso = [];
      if (clicked >= 0) this.on.click(this.points.row[clicked]);
    } else if (this.tool === "lasso") this.selectLasso();
    this.draw();
  }

  hover(i, x, y) {
    if (i !== this.hovered) { this.hovered = i; this.draw(); }
    this.on.hover(i, x, y);
  }

  zoomBy(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    if (!this.points) return;
    const before = this.scale();
    this.zoom = Math.min(200, Math.max(0.8, this.zoom * factor));
    const keep = 1 / before - 1 / this.scale();
    this.centre = [this.centre[0] + (x - this.canvas.width / 2) * keep, this.centre[1] - (y - this.canvas.height / 2) * keep];
    this.draw();
  }

  zoomToAll() {
    if (!this.points) return;
    Object.assign(this, { zoom: 1, centre: this.bounds.slice(0, 2) });
    this.draw();
  }

  key(event) {
    const step = 0.1 / this.zoom;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    if (by) { this.centre = [this.centre[0] + by[0], this.centre[1] + by[1]]; this.draw(); }
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.3);
    else if (event.key === "-") this.zoomBy(1 / 1.3);
    else if (event.key === "0") this.zoomToAll();
    else return;
    event.preventDefault();
  }
}

// Reads the columns that the server packs (projections.py, pack_points).
export function unpackPoints(buffer) {
  const count = new Uint32Array(buffer, 0, 1)[0];
  let offset = 4;
  const column = (Kind, length) => { const values = new Kind(buffer, offset, length); offset += 4 * length; return values; };
  const [row, video] = [column(Uint32Array, count), column(Uint32Array, count)];
  const [xy, start] = [column(Float32Array, 2 * count), column(Float32Array, count)];
  return { count, row, video, xy, start, cluster: column(Int32Array, count), label: column(Int32Array, count) };
}

// Centre, width and height of the points.
function boundsOf({ count, xy }) {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < count; i++) {
    left = Math.min(left, xy[2 * i]); right = Math.max(right, xy[2 * i]);
    low = Math.min(low, xy[2 * i + 1]); high = Math.max(high, xy[2 * i + 1]);
  }
  return [(left + right) / 2, (low + high) / 2, right - left || 1, high - low || 1];
}

function nameGroups(numbers, by, names) {
  const sizes = new Map();
  for (const n of numbers) sizes.set(n, (sizes.get(n) || 0) + 1);
  const order = [...sizes.keys()].sort((a, b) => a - b);
  const place = new Map(order.map((n, k) => [n, k]));
  const list = order.map((n) => ({
    number: n,
    name: by === "label" ? names && (names[n] || "no label") : n < 0 ? "none" : `cluster ${n}`,
    count: sizes.get(n),
    colour: n < 0 ? NO_GROUP_COLOUR : n < PALETTE.length ? PALETTE[n] : `hsl(${(n * 137.5) % 360} 45% ${45 + (n % 3) * 9}%)`,
  }));
  return { list, of: Int32Array.from(numbers, (n) => place.get(n)) };
}

function timeGroups(start) {
  let last = 0;
  for (const s of start) if (s > last) last = s;
  const of = Int32Array.from(start, (s) => Math.min(SCALE.length - 1, Math.floor((s / (last || 1)) * SCALE.length)));
  const edge = (k) => ((last * k) / SCALE.length).toFixed(last < 20 ? 1 : 0);
  const list = SCALE.map((colour, k) => ({ name: `${edge(k)} – ${edge(k + 1)} s`, count: 0, colour }));
  for (const k of of) list[k].count++;
  return { list, of };
}

function discOffsets(radius, width) {
  const disc = [];
  for (let dy = -radius; dy <= radius; dy++)
    for (let dx = -radius; dx <= radius; dx++) if (dx * dx + dy * dy <= radius * radius + 0.5) disc.push(dy * width + dx);
  return Int32Array.from(disc);
}

function isInside(x, y, area) {
  let within = false;
  for (let i = 0, j = area.length - 1; i < area.length; j = i++) {
    const [xi, yi] = area[i], [xj, yj] = area[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) within = !within;
  }
  return within;
}

const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

// A CSS colour as the 32 bits of a pixel.
function packColour(colour) {
  brush.fillStyle = colour;
  brush.fillRect(0, 0, 1, 1);
  return new Uint32Array(brush.getImageData(0, 0, 1, 1).data.buffer)[0];
}
