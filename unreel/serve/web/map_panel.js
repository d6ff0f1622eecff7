// The panel of the map: layout, colours, legend, selection and status.

import { getBytes, formatTime, get, plural, post } from "./api_client.js";
import { openPlayer } from "./player.js";
import { MapCanvas, unpackPoints } from "./map_canvas.js";

const $ = (id) => document.getElementById(id);
const NUM_GROUPS_SHOWN = 12, NUM_GROUPS_MORE = 200, TIP_DELAY_MS = 40, MAX_NAMES = 1000;

export class MapPanel {
  // `page` has: of, about, fail(error). `onSelect` gets the selected rows.
  constructor(page, onSelect) {
    Object.assign(this, { page, onSelect, selectedRows: [], names: new Map(), hovered: -1 });
    this.map = new MapCanvas($("map"), { select: (rows) => this.select(rows), click: (row) => this.openRow(row), hover: (i, x, y) => this.showTip(i, x, y) });
    $("colour").onchange = () => this.paint();
    $("layout").onchange = () => this.load();
    $("unselect").onclick = () => this.map.select(() => false);
    $("zoom-in").onclick = () => this.map.zoomBy(1.5);
    $("zoom-out").onclick = () => this.map.zoomBy(1 / 1.5);
    $("zoom-all").onclick = () => this.map.zoomToAll();
    for (const tool of ["lasso", "move"]) $(`tool-${tool}`).onclick = () => this.useTool(tool);
  }

  useTool(tool) {
    this.map.tool = tool;
    for (const other of ["lasso", "move"]) $(`tool-${other}`).setAttribute("aria-pressed", String(other === tool));
  }

  async load() {
    const layout = $("layout").value, { of } = this.page;
    try {
      let status = {};
      while (!status.ready) {
        status = await get(`/api/${of}/map?layout=${layout}`);
        if (!status.ready) { $("map-said").textContent = "is being computed …"; await new Promise((done) => setTimeout(done, 500)); }
        if (layout !== $("layout").value) return;
      }
      const points = unpackPoints(await getBytes(`/api/${of}/map.bin?layout=${layout}`));
      if (layout !== $("layout").value) return; // another layout was selected meanwhile
      this.map.setPoints(points, layout, this.selectedRows);
      this.clusters = status.clusters;
      this.paint();
    } catch (error) { $("map-said").textContent = error.message; }
  }

  paint() {
    if (!this.map.points) return;
    const { labels, num_labels } = this.page.about;
    const groups = this.map.paint($("colour").value, labels.length === num_labels ? labels : null);
    this.showLegend(groups, NUM_GROUPS_SHOWN);
    $("map").setAttribute("aria-label", `Map of ${plural(this.map.points.count, "clip")}, coloured by ${$("colour").value}: ${groups.length} groups, which the buttons below select`);
    this.showStatus();
  }

  // The largest groups in the order of all, and a button that shows the others too.
  showLegend(groups, numShown) {
    const buttons = groups.map((group, k) => this.makeLegendButton(group, k));
    const bySize = [...groups.keys()].sort((a, b) => groups[b].count - groups[a].count);
    const shown = bySize.slice(0, numShown).sort((a, b) => a - b).map((k) => buttons[k]);
    $("legend").replaceChildren(...shown);
    this.nameLabels(bySize.slice(0, numShown).filter((k) => groups[k].name === null), groups, buttons);
    if (shown.length === groups.length) return;
    const showMore = () => { this.showLegend(groups, numShown + NUM_GROUPS_MORE); $("legend").querySelectorAll("button")[numShown].focus(); };
    const textContent = `${groups.length - shown.length} more`;
    $("legend").append(Object.assign(document.createElement("button"), { type: "button", id: "legend-more", textContent, onclick: showMore }));
  }

  // Asks for the names of labels that did not come with the index, and puts them on their buttons.
  async nameLabels(unnamed, groups, buttons) {
    if (!unnamed.length) return;
    try {
      const { labels } = await post("/api/labels", { of: this.page.of, numbers: unnamed.map((k) => groups[k].number), count: unnamed.length });
      labels.forEach(({ name }, n) => { buttons[unnamed[n]].childNodes[1].data = groups[unnamed[n]].name = name || "no label"; });
    } catch (error) { this.page.fail(error); }
  }

  makeLegendButton(group, k) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: group.name ?? "…", onclick: () => this.map.selectGroup(k) });
    const dot = document.createElement("i");
    dot.style.background = group.colour;
    button.prepend(dot);
    button.append(Object.assign(document.createElement("small"), { textContent: group.count.toLocaleString("en") }));
    return button;
  }

  showStatus() {
    const { rows } = this.page.about, shown = this.map.points.count;
    const summary = `${shown < rows ? `${shown.toLocaleString("en")} of ` : ""}${plural(rows, "clip")}; ${this.clusters}`;
    $("map-said").textContent = this.selectedRows.length ? `${plural(this.selectedRows.length, "clip")} selected` : summary;
    $("unselect").hidden = !this.selectedRows.length;
  }

  select(rows) {
    this.selectedRows = rows;
    this.showStatus();
    if (rows.length) this.onSelect(rows);
  }

  async openRow(row) {
    try { openPlayer(this.page, (await post("/api/moments", { of: this.page.of, rows: [row] })).hits[0], $("map")); this.page.mend(); }
    catch (error) { this.page.fail(error); }
  }

  async showTip(i, x, y) {
    const tip = $("tip"), { video, start } = this.map.points ?? {};
    if (i !== this.hovered) tip.hidden = true;
    this.hovered = i;
    const name = i < 0 ? "" : await this.readName(video[i], () => this.hovered === i);
    if (!name || this.hovered !== i) return;
    tip.hidden = false;
    tip.textContent = `${name} at ${formatTime(start[i])}`;
    tip.style.left = `${Math.min(x + 14, $("map").clientWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${y + 16}px`;
  }

  // The name of a video, asked for once the pointer has rested there; the page keeps few.
  async readName(number, isWanted) {
    if (!this.names.has(number)) await new Promise((done) => setTimeout(done, TIP_DELAY_MS));
    if (!isWanted()) return "";
    if (!this.names.has(number)) {
      if (this.names.size >= MAX_NAMES) this.names.clear();
      const forget = () => { this.names.delete(number); return ""; };
      this.names.set(number, get(`/api/${this.page.of}/videos/${number}`).then(({ name }) => name, forget));
    }
    return this.names.get(number);
  }
}
