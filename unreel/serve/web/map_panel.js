// The map's panel: which layout and colours, what is selected, and what is said of it.

import { bytes, clock, get, many, post } from "./api_client.js";
import { open } from "./result_cards.js";
import { CorpusMap, unpacked } from "./map_canvas.js";

const $ = (id) => document.getElementById(id);

export class Corpus {
  // `page` has: of, about, fail(error). `onSelect` gets the selected rows.
  constructor(page, onSelect) {
    Object.assign(this, { page, onSelect, chosen: [] });
    this.map = new CorpusMap($("map"), { select: (rows) => this.select(rows), click: (row) => this.open(row), hover: (...at) => this.tip(...at) });
    $("colour").onchange = () => this.paint();
    $("layout").onchange = () => this.load();
    $("unselect").onclick = () => this.map.select(() => false);
    $("zoom-in").onclick = () => this.map.zoomBy(1.5);
    $("zoom-out").onclick = () => this.map.zoomBy(1 / 1.5);
    $("zoom-all").onclick = () => this.map.all();
    for (const tool of ["lasso", "move"]) $(`tool-${tool}`).onclick = () => this.use(tool);
  }

  use(tool) {
    this.map.tool = tool;
    for (const other of ["lasso", "move"]) $(`tool-${other}`).setAttribute("aria-pressed", String(other === tool));
  }

  async load() {
    const layout = $("layout").value, { of } = this.page;
    try {
      let found = {};
      while (!found.ready) {
        found = await get(`/api/${of}/map?layout=${layout}`);
        if (!found.ready) { $("map-said").textContent = "is being made …"; await new Promise((done) => setTimeout(done, 500)); }
        if (layout !== $("layout").value) return;
      }
      const points = unpacked(await bytes(`/api/${of}/map.bin?layout=${layout}`));
      if (layout !== $("layout").value) return; // another one was chosen meanwhile
      this.map.set(points);
      Object.assign(this, { clusters: found.clusters, chosen: [] });
      this.paint();
    } catch (error) { $("map-said").textContent = error.message; }
  }

  paint() {
    if (!this.map.points) return;
    const groups = this.map.paint($("colour").value, this.page.about.labels);
    $("legend").replaceChildren(...groups.slice(0, 40).map((group, k) => this.button(group, k)));
    $("map").setAttribute("aria-label", `Map of ${many(this.map.points.count, "clip")}, coloured by ${$("colour").value}: ${groups.length} groups, which the buttons below select`);
    this.say();
  }

  button(group, k) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: group.name, onclick: () => this.map.selectGroup(k) });
    const dot = document.createElement("i");
    dot.style.background = group.colour;
    button.prepend(dot);
    button.append(Object.assign(document.createElement("small"), { textContent: group.count.toLocaleString("en") }));
    return button;
  }

  say() {
    const { rows } = this.page.about, shown = this.map.points.count;
    const all = `${shown < rows ? `${shown.toLocaleString("en")} of ` : ""}${many(rows, "clip")}; ${this.clusters}`;
    $("map-said").textContent = this.chosen.length ? `${many(this.chosen.length, "clip")} selected` : all;
    $("unselect").hidden = !this.chosen.length;
  }

  select(rows) {
    this.chosen = rows;
    this.say();
    if (rows.length) this.onSelect(rows);
  }

  async open(row) {
    try { open(this.page, (await post("/api/moments", { of: this.page.of, rows: [row] })).hits[0], $("map")); }
    catch (error) { this.page.fail(error); }
  }

  tip(i, x, y) {
    const said = $("tip");
    said.hidden = i < 0;
    if (i < 0) return;
    const { video, start } = this.map.points;
    said.textContent = `${this.page.about.videos[video[i]]} at ${clock(start[i])}`;
    said.style.left = `${Math.min(x + 14, $("map").clientWidth - said.offsetWidth - 4)}px`;
    said.style.top = `${y + 16}px`;
  }
}
