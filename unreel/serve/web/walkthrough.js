// What to do next: the empty page, what the marks have done in words, clips worth marking, and the way to new footage.

import { formatTime, plural, post } from "./api_client.js";
import { showCards } from "./result_cards.js";

const $ = (id) => document.getElementById(id);
const MARKS_FOR_A_RANKING = 3, NUM_RANKED = 200, NUM_FIRST = 10, WAIT_MS = 300;

export class Walkthrough {
  // `page` has: of, about, hits, isRanked (whether they are), marks, filters(), fail(error), mend(). `on` has: rank(), sample(), save(name).
  constructor(page, on) {
    Object.assign(this, { page, on, ranking: null, numAsked: 0 });
    $("start-choose").onclick = () => $("choose").click();
    $("start-sample").onclick = () => on.sample();
    $("guide-rank").onclick = () => on.rank();
    $("use").onclick = $("guide-use").onclick = () => this.openDialog();
    $("use-close").onclick = () => $("use-dialog").close();
    $("use-folder").oninput = $("use-name").oninput = () => this.showCommands();
    $("use-form").onsubmit = (event) => { event.preventDefault(); this.saveInDialog(); };
    for (const button of document.querySelectorAll("[data-copies]")) button.onclick = () => copy(button);
  }

  // Called after each search and each change of the marks.
  refresh() {
    const { yes, no } = this.page.marks.rows(), numMarks = yes.length + no.length;
    const isRanking = numMarks >= MARKS_FOR_A_RANKING && yes.length > 0;
    $("welcome").hidden = this.page.hits.length > 0 || numMarks > 0;
    $("guide").hidden = !this.page.hits.length && !numMarks;
    $("keys").hidden = $("export").hidden = !this.page.hits.length;
    if (!isRanking) this.showHint(yes.length, numMarks);
    const marks = JSON.stringify([yes, no]);
    $("guide-rank").hidden = this.page.rankedBy === marks; // it is shown already
    if (marks === this.marks) return;
    this.marks = marks;
    clearTimeout(this.timer);
    if (!isRanking) { this.ranking = null; return; }
    $("guide-said").textContent = `Looking at what your ${numMarks} marks do …`;
    this.timer = setTimeout(() => this.rank(), WAIT_MS);
  }

  showHint(numYes, numMarks) {
    const left = Math.max(1, MARKS_FOR_A_RANKING - numMarks);
    const missing = numYes ? plural(left, "more mark") : numMarks ? "A yes" : "Three marks";
    $("guide-said").textContent = `Say yes to clips that show what you look for, and no to some that don't. ${missing}, and you see what they do.`;
    for (const id of ["guide-buttons", "next-field"]) $(id).hidden = true;
    showCards(this.page, [], $("next-clips"));
  }

  // Ranks everything by the marks, says what that changes, and offers what to mark next. The moments shown stay as they are.
  async rank() {
    const number = ++this.numAsked, before = this.ranking || (this.page.isRanked ? this.page.hits : null);
    try {
      const marks = this.page.marks.rows();
      const { hits, next } = await post("/api/rank", { ...this.page.filters(), ...marks, count: NUM_RANKED });
      if (number !== this.numAsked || !this.ranksStill(marks)) return; // marked again meanwhile
      this.ranking = hits;
      const kinds = ["yes", "no"].map((kind) => `${marks[kind].length} ${kind}`).join(" and ");
      $("guide-said").textContent = `Your ${kinds}: ${describeChange(before, hits, this.page.marks)}`;
      for (const id of ["guide-buttons", "next-field"]) $(id).hidden = false;
      $("next-field").hidden = !next.length;
      showCards(this.page, next, $("next-clips"));
    } catch (error) { this.page.fail(error); }
  }

  ranksStill(marks) { return JSON.stringify(marks) === JSON.stringify(this.page.marks.rows()); }

  // --- new footage

  openDialog() {
    $("use-name").value = this.page.marks.openConcept || $("concept").value;
    this.showCommands();
    $("use-dialog").showModal();
    $(this.page.marks.isSaved() ? "use-folder" : "use-name").focus();
  }

  async saveInDialog() {
    await this.page.marks.save($("use-name").value.trim());
    this.showCommands();
  }

  // The commands with what is known; they can be copied once the marks are saved under the name.
  showCommands() {
    const name = $("use-name").value.trim().normalize("NFC"), { folder, commands } = this.page.about;
    const isSaved = this.page.marks.isSaved(name), shown = name || "NAME";
    const footage = $("use-folder").value.trim() ? quote($("use-folder").value.trim()) : "FOLDER";
    $("use-apply").textContent = `unreel apply ${quote(`${folder}/concepts/${shown}.json`)} ${footage} --csv > ${quote(`${shown}.csv`)}`;
    $("use-train").textContent = `unreel classify train ${quote(`${folder}/encoder`)} ${quote(folder)} --concepts ${quote(shown)} --out ${quote(`${shown}.classifier`)}`;
    $("use-classify").textContent = `unreel classify apply ${quote(`${shown}.classifier`)} ${footage} --out ${quote(`${shown} classes.csv`)}`;
    const { yes, no } = this.page.marks.rows();
    $("use-marks").textContent = `unreel concept ${quote(folder)} ${quote(shown)} --yes ${yes.join(" ")}${no.length ? ` --no ${no.join(" ")}` : ""}`;
    $("use-marks-field").hidden = !yes.length;
    $("use-classifier").hidden = !commands.includes("classify");
    $("use-save").hidden = isSaved;
    $("use-said").textContent = isSaved ? `Saved as ${name}.` : "Give the marks a name and save them; the commands read them from the index.";
    for (const button of document.querySelectorAll("[data-copies]")) button.textContent = "Copy";
  }
}

// What a new ranking changes, in words. `before` is null where the moments before had no order.
export function describeChange(before, after, marks) {
  if (!after.length) return "the filters leave no moment.";
  const first = `first is ${nameMoment(after[0])}.`;
  if (!before?.length) return first;
  const changes = [];
  const numNew = after.slice(0, NUM_FIRST).filter((hit) => !isWithin(findRank(before, hit), NUM_FIRST)).length;
  const numFirst = Math.min(NUM_FIRST, after.length);
  changes.push(numNew ? `${numNew} of the first ${numFirst} moments ${numNew === 1 ? "is" : "are"} new.` : `the same ${plural(numFirst, "moment")} come first.`);
  const unmarked = (hits) => hits.slice(0, NUM_FIRST).filter((hit) => !marks.kind(hit));
  const up = best(unmarked(after), (hit) => (findRank(before, hit) || before.length + 1) - findRank(after, hit));
  if (up) changes.push(`Up: ${nameMoment(up)}, from ${nameRank(before, up)} to ${findRank(after, up)}.`);
  const down = best(unmarked(before), (hit) => (findRank(after, hit) || after.length + 1) - findRank(before, hit));
  if (down) changes.push(`Down: ${nameMoment(down)}, from ${findRank(before, down)} to ${nameRank(after, down)}.`);
  return changes.join(" ");
}

// The hit that moves most, where one moves by more than two places.
function best(hits, value) {
  return hits.reduce((found, hit) => (value(hit) > (found ? value(found) : 2) ? hit : found), null);
}

// The place of a moment in a ranking, from 1; 0 where none of its rows is in it.
function findRank(ranking, hit) {
  const rows = new Set(hit.rows);
  return ranking.findIndex((other) => other.rows.some((row) => rows.has(row))) + 1;
}

const isWithin = (rank, last) => rank > 0 && rank <= last;
const nameRank = (ranking, hit) => findRank(ranking, hit) || `beyond ${ranking.length}`;
const nameMoment = (hit) => `${hit.name} at ${formatTime(hit.start_s)}`;

// A word as a shell takes it, as Python's shlex.quote writes it.
export function quote(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

async function copy(button) {
  const text = $(button.dataset.copies);
  try { await navigator.clipboard.writeText(text.textContent); button.textContent = "Copied"; }
  catch { getSelection().selectAllChildren(text); button.textContent = "Press Ctrl-C"; } // pages of other machines may not write there
}
