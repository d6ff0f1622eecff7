// The page: what is asked when, and what is said about it.

import { blob, bytes, clock, get, many, post } from "./api.js";
import { listenToKeys, open, refresh, showCards } from "./cards.js";
import { CorpusMap, unpacked } from "./map.js";
import { QueryPanel } from "./query.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 4000;
const narrow = matchMedia("(max-width: 820px)");

const page = {
  of: "", about: null,
  hits: [], // as shown
  marks: new Map(), // first row of a hit -> {kind, hit}
  chosen: [], // rows selected on the map
  asking: 0,
  say(text) { $("said").textContent = text; },
  fail(error) { $("alert-said").textContent = error.message; $("alert").hidden = false; },
  use(hit) { query.use(hit); $("query").scrollIntoView({ block: "nearest" }); },
  mark,
  alike,
};
const query = new QueryPanel(page, later(searchNow, 150));
const map = new CorpusMap($("map"), { select: chosen, click: openRow, hover: tip });

// --- searching

async function ask(work, said) {
  const mine = ++page.asking;
  $("alert").hidden = true;
  document.body.classList.add("asking");
  try {
    const found = await work();
    if (mine !== page.asking) return; // a later question was asked meanwhile
    showHits(found.hits);
    page.say(said(found));
    if (narrow.matches) $("results").scrollIntoView(); // they are below the query
  } catch (error) {
    if (mine === page.asking) { page.fail(error); page.say(""); }
  } finally {
    if (mine === page.asking) document.body.classList.remove("asking");
  }
}

function showHits(hits, before = null) {
  page.hits = hits;
  page.before = before; // what Back goes back to
  $("back").hidden = !before;
  $("welcome").hidden = true;
  showCards(page, hits);
}

const filters = () => ({
  of: page.of,
  labels: $("label").value ? [$("label").value] : [],
  path: $("path").value.trim(),
  after_s: Number($("after").value),
  before_s: $("before").value === "" ? null : Number($("before").value),
  fold: $("fold").checked,
});
const nothing = "nothing: the filters leave no moment";

function searchNow() {
  const like = query.asked();
  if (!like) return;
  const asked = { ...filters(), ...like, motion: Number($("motion").value), own: $("own").value };
  page.again = searchNow;
  return ask(() => post("/api/search", asked), ({ hits }) => (hits.length ? `${many(hits.length, "moment")} like it` : nothing));
}

// Several examples and counter-examples: those marked.
function likeMarked() {
  const { yes, no } = markRows();
  page.again = likeMarked;
  const asked = { ...filters(), like: yes, unlike: no, motion: Number($("motion").value), own: $("own").value };
  const said = `like ${many(yes.length, "example")}${no.length ? `, unlike ${no.length}` : ""}`;
  return ask(() => post("/api/search", asked), ({ hits }) => (hits.length ? `${many(hits.length, "moment")} ${said}` : nothing));
}

// A hit with the near-duplicates that stood under it.
function alike(hit) {
  const before = page.hits;
  showHits([{ ...hit, num_alike: 0 }, ...hit.alike], before);
  page.say(`${many(hit.num_alike, "near-duplicate")} of ${hit.name}${hit.num_alike > hit.alike.length ? `, the first ${hit.alike.length} shown` : ""}`);
}

function back() {
  showHits(page.before);
  page.say(many(page.hits.length, "moment"));
  $("hits").firstChild?.focus();
}

function marked(kind) {
  return [...page.marks.values()].filter((mark) => mark.kind === kind).map((mark) => mark.hit);
}

const markRows = () => ({ yes: marked("yes").map((hit) => hit.rows[0]), no: marked("no").map((hit) => hit.rows[0]) });

function rankNow(part) {
  page.again = () => rankNow(part);
  const said = ({ hits, next }) => (part === "next" ? `${many(next.length, "moment")} the marks leave open: yes or no?` : `${many(hits.length, "moment")}, ranked by your marks`);
  return ask(async () => {
    const found = await post("/api/rank", { ...filters(), ...markRows() });
    return { ...found, hits: part === "next" ? found.next : found.hits };
  }, said);
}

function rankBy(concept) {
  page.again = () => rankBy(concept);
  $("concept").value = concept;
  return ask(() => post("/api/rank", { ...filters(), concept }), ({ hits }) => `${many(hits.length, "moment")}, ranked by the concept ${concept}`);
}

// A saved concept comes with its marks, so that marking goes on.
async function openConcept(concept) {
  try {
    const found = await get(`/api/${page.of}/concepts/${encodeURIComponent(concept)}`);
    for (const kind of ["yes", "no"]) for (const hit of found[kind]) page.marks.set(hit.rows[0], { kind, hit });
    showMarks();
  } catch (error) { page.fail(error); }
  return rankBy(concept);
}

// --- marks

function mark(hit, kind) {
  const row = hit.rows[0];
  if (page.marks.get(row)?.kind === kind) page.marks.delete(row);
  else page.marks.set(row, { kind, hit });
  showMarks();
}

const KEPT = "unreel marks";

// Marks outlast a page that is loaded again, as long as the index is the same.
function keepMarks() {
  try { sessionStorage.setItem(KEPT, JSON.stringify({ of: page.of, marks: [...page.marks] })); } catch { /* no room: they last as long as the page */ }
}

function restoreMarks() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) || "{}");
  if (kept.of === page.of) { page.marks = new Map(kept.marks); showMarks(); }
}

function showMarks() {
  keepMarks();
  const [yes, no] = [marked("yes").length, marked("no").length];
  $("marks").hidden = !page.marks.size;
  $("marks-said").textContent = `${yes} yes, ${no} no`;
  for (const id of ["rank", "like", "next"]) $(id).disabled = !yes;
  $("save").lastElementChild.disabled = !yes;
  refresh(page);
}

async function saveConcept(event) {
  event.preventDefault();
  const name = $("concept").value.trim();
  if (!name) return page.fail(new Error("give the concept a name"));
  try {
    showConcepts((await post("/api/concepts", { of: page.of, name, ...markRows() })).concepts);
    page.say(`Saved as ${name}`);
  } catch (error) { page.fail(error); }
}

function showConcepts(names) {
  $("concepts-field").hidden = !names.length;
  $("concepts").replaceChildren(...names.map((name) => Object.assign(document.createElement("button"), { type: "button", textContent: name, onclick: () => openConcept(name) })));
}

// --- export

function exported() {
  const what = $("export-what").value;
  if (what === "map") return page.chosen;
  return (what === "yes" ? marked("yes") : page.hits).flatMap((hit) => hit.rows);
}

// What the moments shown scored, by their best rows.
function scores() {
  if ($("export-what").value !== "hits") return {};
  return Object.fromEntries(page.hits.filter((hit) => hit.score).map((hit) => [hit.rows[0], hit.score]));
}

async function save(ending, doing) {
  const rows = exported();
  if (!rows.length) return page.fail(new Error("nothing to export yet: search, mark something yes, or select on the map"));
  page.say(doing);
  try {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await blob(`/api/export.${ending}`, { of: page.of, rows, scores: scores() }));
    link.download = `${page.about.name}-selection.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    page.say(`${link.download} is made`);
  } catch (error) { page.fail(error); page.say(""); }
}

// --- the map

async function loadMap() {
  const layout = $("layout").value;
  try {
    for (let ready = false; !ready; ) {
      const found = await get(`/api/${page.of}/map?layout=${layout}`);
      ready = found.ready;
      page.mapSaid = found.clusters;
      if (!ready) { $("map-said").textContent = "is being made …"; await new Promise((done) => setTimeout(done, 500)); }
      if (layout !== $("layout").value) return;
    }
    map.set(unpacked(await bytes(`/api/${page.of}/map.bin?layout=${layout}`)));
    page.chosen = [];
    paintMap();
  } catch (error) { $("map-said").textContent = error.message; }
}

function paintMap() {
  if (!map.points) return;
  const groups = map.paint($("colour").value, page.about.labels);
  const buttons = groups.slice(0, 40).map((group, k) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: group.name, onclick: () => map.selectGroup(k) });
    const dot = document.createElement("i");
    dot.style.background = group.colour;
    const count = Object.assign(document.createElement("small"), { textContent: group.count.toLocaleString("en") });
    button.prepend(dot);
    button.append(count);
    return button;
  });
  $("legend").replaceChildren(...buttons);
  $("map").setAttribute("aria-label", `Map of ${many(map.points.count, "clip")}, coloured by ${$("colour").value}: ${groups.length} groups, which the buttons below select`);
  sayMap();
}

function sayMap() {
  const sampled = map.points.count < page.about.rows ? `${map.points.count.toLocaleString("en")} of ` : "";
  const all = `${sampled}${many(page.about.rows, "clip")}; ${page.mapSaid}`;
  $("map-said").textContent = page.chosen.length ? `${many(page.chosen.length, "clip")} selected` : all;
  $("unselect").hidden = !page.chosen.length;
}

function chosen(rows) {
  page.chosen = rows;
  sayMap();
  if (!rows.length) return;
  $("export-what").value = "map";
  ask(() => post("/api/moments", { of: page.of, rows }), ({ hits, moments }) => `${many(moments, "moment")} selected${moments > hits.length ? `, the first ${hits.length} shown` : ""}`);
}

async function openRow(row) {
  try { open(page, (await post("/api/moments", { of: page.of, rows: [row] })).hits[0], $("map")); }
  catch (error) { page.fail(error); }
}

function tip(i, x, y) {
  const said = $("tip");
  said.hidden = i < 0;
  if (i < 0) return;
  said.textContent = `${page.about.videos[map.points.video[i]]} at ${clock(map.points.start[i])}`;
  said.style.left = `${Math.min(x + 14, $("map").clientWidth - said.offsetWidth - 4)}px`;
  said.style.top = `${y + 16}px`;
}

// --- what the index does meanwhile

async function watch() {
  try {
    const now = await get("/api/status");
    showProgress(now, now.reload || Boolean(page.of && now.served && now.served.id !== page.of));
    if (page.lost) $("alert").hidden = true;
    page.lost = false;
  } catch (error) {
    if (!page.lost) page.fail(error); // said once
    page.lost = true;
  }
  setTimeout(watch, POLL_MS);
}

function showProgress(now, changed) {
  $("indexing").hidden = !now.indexing && !changed;
  $("bar").hidden = !now.indexing;
  if (now.of_videos) { $("bar").max = now.of_videos; $("bar").value = now.videos; }
  const found = `${many(now.rows, "clip")} of ${now.of_videos ? `${now.videos.toLocaleString("en")} of ${many(now.of_videos, "video")}` : many(now.videos, "video")}`;
  $("indexing-said").textContent = now.indexing ? `Being indexed: ${found} so far.` : `The index has changed: ${found} now.`;
  $("reload").hidden = !changed;
}

async function reload() {
  try { await post("/api/reload", {}); location.reload(); }
  catch (error) { page.fail(error); }
}

// --- beginning

function later(work, wait_ms) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(work, wait_ms); };
}

function fill(about) {
  Object.assign(page, { about, of: about.id });
  document.title = `${about.name} · unreel`;
  $("name").textContent = about.name;
  $("facts").textContent = `${many(about.rows, "clip")} of ${many(about.videos.length, "video")}`;
  $("facts").title = about.nearest;
  $("motion-field").hidden = !about.slider;
  if (about.slider) {
    const [left, right] = about.slider;
    $("ends").replaceChildren(...about.slider.map((end) => Object.assign(document.createElement("span"), { textContent: end })));
    $("motion").setAttribute("aria-label", `${left} at the left, ${right} at the right`);
  }
  const names = about.labels.filter(Boolean);
  $("label-field").hidden = !names.length;
  $("label").append(...[...names].sort().map((name) => new Option(name)));
  if (!names.length) $("colour").querySelector("[value=label]").remove();
  showConcepts(about.concepts);
  restoreMarks();
}

function wire() {
  const again = later(() => page.again?.(), 200);
  for (const id of ["motion", "label", "path", "own", "after", "before", "fold"]) $(id).addEventListener("input", again);
  $("filters").open = !narrow.matches; // on a phone the moments come first
  $("query").onsubmit = (event) => { event.preventDefault(); searchNow(); };
  $("rank").onclick = () => rankNow("hits");
  $("like").onclick = likeMarked;
  $("back").onclick = back;
  $("next").onclick = () => rankNow("next");
  $("save").onsubmit = saveConcept;
  $("unmark").onclick = () => { page.marks.clear(); showMarks(); };
  $("export-csv").onclick = () => save("csv", "Writing the list …");
  $("export-zip").onclick = () => save("zip", "Cutting clips …");
  $("colour").onchange = paintMap;
  $("layout").onchange = loadMap;
  $("unselect").onclick = () => map.select(() => false);
  $("zoom-in").onclick = () => map.zoomBy(1.5);
  $("zoom-out").onclick = () => map.zoomBy(1 / 1.5);
  $("zoom-all").onclick = () => map.all();
  for (const tool of ["lasso", "move"]) $(`tool-${tool}`).onclick = () => {
    map.tool = tool;
    for (const other of ["lasso", "move"]) $(`tool-${other}`).setAttribute("aria-pressed", String(other === tool));
  };
  $("reload").onclick = reload;
  $("alert-close").onclick = () => { $("alert").hidden = true; };
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    $("choose").focus();
  });
  listenToKeys(page);
}

async function begin() {
  wire();
  watch();
  try {
    fill(await get("/api/index"));
    await loadMap();
  } catch (error) { page.fail(error); }
}

begin();
