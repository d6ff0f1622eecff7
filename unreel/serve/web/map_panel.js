// The panel of the map: layout, colours, legend, selection and status.

import { getBytes, formatTime, get, plural, post } from "./api_client.js";
import { openPlayer } from "./player.js";
import { MapCanvas, unpackPoints } from "./map_canvas.js";

const $ = (id) => document.getElementById(id);
const NUM_GROUPS_SHOWN = 12;

export class MapPanel {
  // `page` has: of, about, fail(error). `onSelect` gets the selected rows.
  constructor(page, onSelect) {
    Object.assign(this, { page, onSelect, selectedRows: [] });
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
    const groups = this.map.paint($("colour").value, this.page.about.labels);
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
    if (shown.length === groups.length) return;
    const showAll = () => { this.showLegend(groups, groups.length); $("legend").querySelectorAll("button")[numShown].focus(); };
    const textContent = `${groups.length - shown.length} more`;
    $("legend").append(Object.assign(document.createElement("button"), { type: "button", id: "legend-more", textContent, onclick: showAll }));
  }

  makeLegendButton(group, k) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: group.name, onclick: () => this.map.selectGroup(k) });
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

  showTip(i, x, y) {
    const tip = $("tip");
    tip.hidden = i < 0;
    if (i < 0) return;
    const { video, start } = this.map.points;
    tip.textContent = `${this.page.about.videos[video[i]]} at ${formatTime(start[i])}`;
    tip.style.left = `${Math.min(x + 14, $("map").clientWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${y + 16}px`;
  }
}
