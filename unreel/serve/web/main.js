// The page: what is asked when, and what is said about it.

import { blob, get, many, post } from "./api_client.js";
import { listenToKeys, refresh, showCards } from "./result_cards.js";
import { Corpus } from "./map_panel.js";
import { Marks } from "./annotations.js";
import { QueryPanel } from "./query_panel.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 4000;
const narrow = matchMedia("(max-width: 820px)");

const page = {
  of: "", about: null,
  hits: [], // as shown
  asking: 0,
  say(text) { $("said").textContent = text; },
  fail(error) { $("alert-said").textContent = error.message; $("alert").hidden = false; },
  use(hit) { query.use(hit); $("query").scrollIntoView({ block: "nearest" }); },
  alike,
};
const query = new QueryPanel(page, later(searchNow, 150));
const corpus = new Corpus(page, selected);
const marks = page.marks = new Marks(page, { change: () => refresh(page), open: rankBy });

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
  const { yes, no } = marks.rows();
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

function rankNow(part) {
  page.again = () => rankNow(part);
  const said = ({ hits, next }) => (part === "next" ? `${many(next.length, "moment")} the marks leave open: yes or no?` : `${many(hits.length, "moment")}, ranked by your marks`);
  return ask(async () => {
    const found = await post("/api/rank", { ...filters(), ...marks.rows() });
    return { ...found, hits: part === "next" ? found.next : found.hits };
  }, said);
}

function rankBy(concept) {
  page.again = () => rankBy(concept);
  return ask(() => post("/api/rank", { ...filters(), concept }), ({ hits }) => `${many(hits.length, "moment")}, ranked by the concept ${concept}`);
}

// What the map selects.
function selected(rows) {
  $("export-what").value = "map";
  ask(() => post("/api/moments", { of: page.of, rows }), ({ hits, moments }) => `${many(moments, "moment")} selected${moments > hits.length ? `, the first ${hits.length} shown` : ""}`);
}

// --- export

function exported() {
  const what = $("export-what").value;
  if (what === "map") return corpus.chosen;
  return (what === "yes" ? marks.hits("yes") : page.hits).flatMap((hit) => hit.rows);
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

// --- what the index does meanwhile

async function watch() {
  try {
    const now = await get("/api/status");
    showProgress(now, now.reload || Boolean(page.begun && now.served && now.served.id !== page.of));
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
  marks.list(about.concepts);
  marks.restore();
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
  $("export-csv").onclick = () => save("csv", "Writing the list …");
  $("export-zip").onclick = () => save("zip", "Cutting clips …");
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
    await corpus.load();
  } catch (error) { page.fail(error); }
  page.begun = true; // also without an index: then one that is there later is offered
}

begin();
