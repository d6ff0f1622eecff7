// The query: an upload, or a moment of a video of the index. Two handles select its seconds.

import { formatTime, sendFile } from "./api_client.js";
import { indexedMoment, play, seek, showMoment, prefersReducedMotion, stop } from "./video_playback.js";

const $ = (id) => document.getElementById(id);
const video = $("query-video"), picture = $("query-picture"), from = $("from"), to = $("to"), drop = $("drop");
const MIN_S = 0.04;

export class QueryPanel {
  constructor(page, onChange) {
    this.page = page;
    this.onChange = onChange;
    this.selection = null; // {query} of an upload or {video, rows} of the index, start_s, end_s, touched
    $("choose").onclick = () => $("file").click();
    $("file").onchange = () => $("file").files[0] && this.upload($("file").files[0]);
    for (const handle of [from, to]) {
      handle.oninput = () => this.drag(handle);
      handle.onchange = () => this.onChange();
    }
    this.listenToDrops();
  }

  listenToDrops() {
    addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      const file = event.dataTransfer.files[0];
      if (file) this.upload(file);
    });
  }

  async upload(file) {
    if (!this.page.about) return this.page.fail(new Error("no index is open yet"));
    if (file.size > this.page.about.upload_bytes) {
      const limit = Math.floor(this.page.about.upload_bytes / 2 ** 20);
      return this.page.fail(new Error(`${file.name}: a query may have ${limit} MB at most; use a shorter piece of it`));
    }
    this.page.say(`Sending ${file.name} …`);
    try {
      const { query, length_s } = await sendFile(`/api/queries?name=${encodeURIComponent(file.name)}`, file);
      this.selection = { query, name: file.name, start_s: 0, end_s: length_s, length_s, touched: true };
      this.showUpload(file);
      this.onChange();
    } catch (error) {
      this.page.fail(error);
      this.page.say("");
    } finally {
      $("file").value = "";
    }
  }

  showUpload(file) {
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(file);
    const { query, length_s } = this.selection;
    const isPicture = file.type.startsWith("image/") && file.type !== "image/gif";
    this.showMedia(isPicture);
    if (isPicture) { picture.src = this.address; return; }
    const preview = (start, end) => `/api/queries/${query}/preview?start=${start.toFixed(3)}&end=${end.toFixed(3)}`;
    showMoment(video, { file: this.address, preview, start_s: 0, end_s: length_s }, { loop: true });
    this.setHandles(0, length_s);
    this.startPlayback();
  }

  // Makes a hit the query. Until its seconds are changed, the search uses the hit's rows and decodes nothing.
  useHit(hit) {
    this.selection = { ...hit, touched: false, length_s: hit.end_s };
    this.showMedia(false);
    showMoment(video, indexedMoment(this.page.of, hit), { loop: true, around_s: 15 });
    const onMetadata = video.onloadedmetadata;
    video.onloadedmetadata = () => {
      onMetadata();
      const end_s = video.playback.base_s + video.duration;
      if (Number.isFinite(end_s)) this.setHandles(video.playback.base_s, Math.max(end_s, hit.end_s));
    };
    this.setHandles(0, hit.end_s);
    this.startPlayback();
    this.onChange();
  }

  // With reduced motion nothing plays by itself; controls are shown instead.
  startPlayback() {
    video.controls = prefersReducedMotion.matches;
    if (!prefersReducedMotion.matches) play(video);
  }

  showMedia(isPicture) {
    if (isPicture) stop(video);
    $("query-empty").hidden = true;
    $("choose").textContent = "choose another";
    video.hidden = isPicture;
    picture.hidden = !isPicture;
    $("moment").hidden = isPicture;
    $("query-name").textContent = this.selection.name;
  }

  setHandles(first_s, last_s) {
    for (const handle of [from, to]) [handle.min, handle.max] = [first_s, last_s];
    [from.value, to.value] = [this.selection.start_s, this.selection.end_s];
    this.showRange();
  }

  drag(handle) {
    let [start_s, end_s] = [Number(from.value), Number(to.value)];
    if (end_s - start_s < MIN_S) {
      if (handle === from) start_s = end_s - MIN_S; else end_s = start_s + MIN_S;
      [from.value, to.value] = [start_s, end_s];
    }
    Object.assign(this.selection, { start_s, end_s, touched: true });
    Object.assign(video.playback.moment, { start_s, end_s });
    seek(video, handle === from ? start_s : Math.max(start_s, end_s - MIN_S));
    this.showRange();
  }

  showRange() {
    const { start_s, end_s } = this.selection, span = from.max - from.min || 1;
    const percent = (s) => `${(100 * (s - from.min)) / span}%`;
    $("track-chosen").style.left = percent(start_s);
    $("track-chosen").style.width = `${(100 * (end_s - start_s)) / span}%`;
    $("moment-said").textContent = `${formatTime(start_s)} – ${formatTime(end_s)}`;
    from.setAttribute("aria-valuetext", `${start_s.toFixed(1)} seconds`);
    to.setAttribute("aria-valuetext", `${end_s.toFixed(1)} seconds`);
  }

  // The query as the server takes it; null when there is none.
  toRequest() {
    if (!this.selection) return null;
    const { query, video: number, start_s, end_s, rows, touched } = this.selection;
    if (!touched) return { like: rows.slice(0, 1000) }; // all rows of the hit
    return { moment: query ? { query, start_s, end_s } : { video: number, start_s, end_s } };
  }
}
