// The page: searches, ranking, export and progress, and the parts that start them.

import { choosePollDelay, get, PAGE_VERSION, plural, POLL_MS, post, postForBlob } from "./api_client.js";
import { listenToKeys, refreshMarks, showCards } from "./result_cards.js";
import { MapPanel } from "./map_panel.js";
import { Marks } from "./annotations.js";
import { QueryPanel } from "./query_panel.js";
import { Walkthrough } from "./walkthrough.js";

const $ = (id) => document.getElementById(id);
const NUM_SAMPLED = 24, NUM_SUGGESTED = 20;
const narrow = matchMedia("(max-width: 820px)");

const page = {
  of: "", about: null,
  hits: [], // as shown
  title: "", // what they are, for the name of an exported file
  isRanked: false, // whether they have an order
  rankedBy: "", // the marks that they are ranked by
  numSearches: 0,
  say(text) { $("said").textContent = text; },
  fail(error) { $("alert-said").textContent = error.message; $("alert").hidden = false; },
  mend() { $("alert").hidden = true; }, // after whatever has worked
  use(hit) { query.useHit(hit); $("query").scrollIntoView({ block: "nearest" }); },
  showDuplicates,
};
const query = new QueryPanel(page, debounce(searchNow, 150));
const mapPanel = new MapPanel(page, showSelection);
const marks = page.marks = new Marks(page, { change: () => { refreshMarks(page); walkthrough.refresh(); }, open: rankByConcept });
const walkthrough = new Walkthrough(page, { rank: rankNow, sample: showSample });

// --- searching

async function runSearch(request, describe, title, isRanked = true) {
  const number = ++page.numSearches;
  document.body.classList.add("asking");
  try {
    const answer = await request();
    if (number !== page.numSearches) return; // a later search was started meanwhile
    page.mend();
    Object.assign(page, { title, isRanked, rankedBy: answer.by || "" });
    showHits(answer.hits);
    page.say(describe(answer));
    if (narrow.matches) $("results").scrollIntoView(); // the results are below the query
  } catch (error) {
    if (number === page.numSearches) { page.fail(error); page.say(""); }
  } finally {
    if (number === page.numSearches) document.body.classList.remove("asking");
  }
}

function showHits(hits, before = null) {
  page.hits = hits;
  page.before = before; // the hits that Back shows again
  $("back").hidden = !before;
  showCards(page, hits);
  walkthrough.refresh();
}

const filters = page.filters = () => ({
  of: page.of,
  labels: $("label").value.trim() ? [$("label").value.trim()] : [],
  path: $("path").value.trim(),
  after_s: Number($("after").value),
  before_s: $("before").value === "" ? null : Number($("before").value),
  fold: $("fold").checked,
});
const NO_RESULTS = "nothing: the filters leave no moment";

// The share of motion once the slider was moved; until then the index decides.
const chosenMotion = () => (page.movedSlider ? Number($("motion").value) : null);

function searchNow() {
  const example = query.toRequest();
  if (!example) return;
  const body = { ...filters(), ...example, motion: chosenMotion(), own: $("own").value };
  page.repeat = searchNow;
  return runSearch(() => post("/api/search", body), ({ hits, note }) => (hits.length ? `${plural(hits.length, "moment")} like it${note && `. ${note}`}` : NO_RESULTS), `like ${query.selection.name}`);
}

// Searches with the marked hits as examples and counter-examples.
function likeMarked() {
  const { yes, no } = marks.rows();
  page.repeat = likeMarked;
  const body = { ...filters(), like: yes, unlike: no, motion: chosenMotion(), own: $("own").value };
  const description = `like ${plural(yes.length, "example")}${no.length ? `, unlike ${no.length}` : ""}`;
  return runSearch(() => post("/api/search", body), ({ hits }) => (hits.length ? `${plural(hits.length, "moment")} ${description}` : NO_RESULTS), description);
}

// Shows a hit with its near-duplicates.
function showDuplicates(hit) {
  const before = page.hits;
  showHits([{ ...hit, num_alike: 0 }, ...hit.alike], before);
  page.say(`${plural(hit.num_alike, "near-duplicate")} of ${hit.name}${hit.num_alike > hit.alike.length ? `, the first ${hit.alike.length} shown` : ""}`);
}

function back() {
  showHits(page.before);
  page.say(plural(page.hits.length, "moment"));
  page.mend();
  $("hits").firstChild?.focus();
}

function rankNow() {
  page.repeat = rankNow;
  const { yes, no } = marks.rows(), title = `ranked by ${yes.length} yes ${no.length} no`;
  const request = async () => ({ ...(await post("/api/rank", { ...filters(), yes, no })), by: JSON.stringify([yes, no]) });
  return runSearch(request, ({ hits }) => `${plural(hits.length, "moment")}, ranked by your marks`, title);
}

function rankByConcept(concept) {
  page.repeat = () => rankByConcept(concept);
  return runSearch(() => post("/api/rank", { ...filters(), concept }), ({ hits }) => `${plural(hits.length, "moment")}, ranked by the concept ${concept}`, `concept ${concept}`);
}

// Shows the rows selected on the map.
function showSelection(rows) {
  $("export-what").value = "map";
  runSearch(() => post("/api/moments", { of: page.of, rows }), ({ hits, moments }) => `${plural(moments, "moment")} selected${moments > hits.length ? `, the first ${hits.length} shown` : ""}`, "map selection", false);
}

// Moments from the whole index, for who has no video to begin with.
function showSample() {
  const { count, row } = mapPanel.map.points || { count: 0 };
  if (!count) return page.fail(new Error("the map is not there yet; try again in a moment"));
  const rows = [...Array(Math.min(NUM_SAMPLED, count)).keys()].map((k) => row[Math.floor((k * count) / Math.min(NUM_SAMPLED, count))]);
  page.repeat = showSample;
  return runSearch(() => post("/api/moments", { of: page.of, rows }), ({ hits }) => `${plural(hits.length, "moment")} from all over the index`, "sample", false);
}

// --- export

function exportRows() {
  const what = $("export-what").value;
  if (what === "map") return mapPanel.selectedRows;
  return (what === "yes" ? marks.hits("yes") : page.hits).flatMap((hit) => hit.rows);
}

// Scores of the moments shown, by their best rows.
function exportScores() {
  if ($("export-what").value !== "hits") return {};
  return Object.fromEntries(page.hits.filter((hit) => hit.score).map((hit) => [hit.rows[0], hit.score]));
}

// The index and what is exported, e.g. "cats-like-jump.mp4.csv".
function nameExport(format) {
  const title = { map: "map selection", yes: marks.openConcept ? `marked ${marks.openConcept}` : "marked yes" }[$("export-what").value] || page.title;
  return `${page.about.name}-${title}.${format}`.replace(/[\s\\/:*?"<>|#%]+/g, "-");
}

async function downloadExport(format, status) {
  const rows = exportRows();
  if (!rows.length) return page.fail(new Error("nothing to export yet: search, mark something yes, or select on the map"));
  page.say(status);
  try {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await postForBlob(`/api/export.${format}`, { of: page.of, rows, scores: exportScores() }));
    link.download = nameExport(format);
    link.click();
    page.mend();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    page.say(`${link.download} is saved`);
  } catch (error) { page.fail(error); page.say(""); }
}

// --- progress of indexing

const polling = { timer: 0, asked_ms: -Infinity, used_ms: performance.now(), isIndexing: false };

async function pollStatus() {
  clearTimeout(polling.timer);
  polling.asked_ms = performance.now();
  try {
    const now = await get(`/api/status?page=${PAGE_VERSION}`);
    polling.isIndexing = now.indexing;
    showProgress(now, now.reload || Boolean(page.isStarted && now.served && now.served.id !== page.of));
    if (page.isOffline) page.mend();
    page.isOffline = false;
  } catch (error) {
    if (!page.isOffline) page.fail(error); // shown once
    page.isOffline = true;
  }
  clearTimeout(polling.timer);
  const delay_ms = choosePollDelay({ isHidden: document.hidden, isIndexing: polling.isIndexing, unused_ms: performance.now() - polling.used_ms });
  if (delay_ms) polling.timer = setTimeout(pollStatus, delay_ms);
}

// Somebody is at the page: what it shows of the index is to be of now.
function notePresence() {
  polling.used_ms = performance.now();
  if (!document.hidden && polling.used_ms - polling.asked_ms > POLL_MS) pollStatus();
}

function showProgress(now, changed) {
  $("indexing").hidden = !now.indexing && !changed;
  $("bar").hidden = !now.indexing;
  if (now.of_videos) { $("bar").max = now.of_videos; $("bar").value = now.videos; }
  const counts = `${plural(now.rows, "clip")} of ${now.of_videos ? `${now.videos.toLocaleString("en")} of ${plural(now.of_videos, "video")}` : plural(now.videos, "video")}`;
  $("indexing-said").textContent = now.indexing ? `Being indexed: ${counts} so far.` : `The index has changed: ${counts} now.`;
  $("reload").hidden = !changed;
  $("missing").hidden = !now.missing;
  $("missing").textContent = now.missing;
}

async function reload() {
  try { await post("/api/reload", {}); location.reload(); }
  catch (error) { page.fail(error); }
}

// --- start

function debounce(action, wait_ms) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(action, wait_ms); };
}

// Does the encoder of this index beat what needs no training?
function showVerdict(verdict) {
  $("verdict").hidden = !verdict;
  if (!verdict) return;
  $("verdict").dataset.level = verdict.level;
  $("verdict").title = verdict.explanation;
  $("verdict-headline").textContent = `${verdict.headline}.`;
  $("verdict-said").textContent = verdict.level === "better" ? "" : verdict.explanation;
}

function showIndex(about) {
  Object.assign(page, { about, of: about.id });
  document.title = `${about.name} · unreel`;
  $("name").textContent = about.name;
  $("facts").textContent = `${plural(about.rows, "clip")} of ${plural(about.num_videos, "video")}${about.approximate && `; ${about.approximate}`}`;
  $("facts").title = about.nearest;
  showVerdict(about.verdict);
  $("motion-field").hidden = !about.slider;
  if (about.slider) {
    const [left, right] = about.slider;
    $("motion").value = about.motion;
    $("ends").replaceChildren(...about.slider.map((end) => Object.assign(document.createElement("span"), { textContent: end })));
    $("motion").setAttribute("aria-label", `${left} at the left, ${right} at the right`);
  }
  showLabels(about);
  marks.showConcepts(about.concepts);
  marks.restore();
}

// The labels to choose from; where there are too many to send, a field that suggests some.
function showLabels({ labels, num_labels }) {
  const names = labels.filter(Boolean), isSent = labels.length === num_labels;
  $("label-field").hidden = isSent && !names.length;
  if (isSent && !names.length) $("colour").querySelector("[value=label]").remove();
  if (isSent) return $("label").append(...[...names].sort().map((name) => new Option(name)));
  const field = Object.assign(document.createElement("input"), { type: "search", id: "label", placeholder: "any", spellcheck: false, onchange: () => page.repeat?.() });
  $("label").replaceWith(field);
  suggest(field, async () => (await post("/api/labels", { of: page.of, text: field.value.trim(), count: NUM_SUGGESTED })).labels);
}

// Offers the first names of an answer while somebody types.
function suggest(field, ask) {
  const list = Object.assign(document.createElement("datalist"), { id: `${field.id}-names` });
  field.setAttribute("list", list.id);
  document.body.append(list);
  let numAsked = 0;
  field.addEventListener("input", debounce(async () => {
    const number = ++numAsked, found = field.value.trim() ? await ask().catch(() => []) : []; // the search says what is wrong
    if (number === numAsked) list.replaceChildren(...found.map(({ name }) => new Option(name)));
  }, 150));
}

function addListeners() {
  const repeatSearch = debounce(() => page.repeat?.(), 200);
  for (const id of ["motion", "label", "path", "own", "after", "before", "fold"]) $(id).addEventListener("input", repeatSearch);
  suggest($("path"), async () => (await post("/api/videos", { ...filters(), count: NUM_SUGGESTED })).videos);
  $("motion").addEventListener("input", () => { page.movedSlider = true; });
  for (const event of ["pointermove", "keydown", "scroll", "focus"]) addEventListener(event, notePresence, { passive: true });
  document.addEventListener("visibilitychange", notePresence);
  $("filters").open = !narrow.matches; // on a phone the results come first
  $("query").onsubmit = (event) => { event.preventDefault(); searchNow(); };
  $("rank").onclick = rankNow;
  $("like").onclick = likeMarked;
  $("back").onclick = back;
  $("export-csv").onclick = () => downloadExport("csv", "Writing the list …");
  $("export-zip").onclick = () => downloadExport("zip", "Cutting clips …");
  $("reload").onclick = reload;
  $("alert-close").onclick = page.mend;
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    $("choose").focus();
  });
  listenToKeys(page);
}

async function start() {
  addListeners();
  pollStatus();
  try {
    showIndex(await get(`/api/index?page=${PAGE_VERSION}`));
    await mapPanel.load();
  } catch (error) { page.fail(error); }
  page.isStarted = true; // also without an index: one that appears later is offered
}

start();
