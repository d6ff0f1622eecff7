// The query: an upload, or a moment of a video of the index; two handles choose its seconds.

import { clock, send } from "./api_client.js";
import { ofIndex, play, seek, show, still, stop } from "./video_playback.js";

const $ = (id) => document.getElementById(id);
const video = $("query-video"), picture = $("query-picture"), from = $("from"), to = $("to"), drop = $("drop");
const MIN_S = 0.04;

export class QueryPanel {
  constructor(page, onChange) {
    this.page = page;
    this.onChange = onChange;
    this.now = null; // {query} of an upload or {video, rows} of the index, start_s, end_s, touched
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
      const { query, length_s } = await send(`/api/queries?name=${encodeURIComponent(file.name)}`, file);
      this.now = { query, name: file.name, start_s: 0, end_s: length_s, length_s, touched: true };
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
    const { query, length_s } = this.now;
    const isPicture = file.type.startsWith("image/") && file.type !== "image/gif";
    this.place(isPicture);
    if (isPicture) { picture.src = this.address; return; }
    const preview = (start, end) => `/api/queries/${query}/preview?start=${start.toFixed(3)}&end=${end.toFixed(3)}`;
    show(video, { file: this.address, preview, start_s: 0, end_s: length_s }, { loop: true });
    this.setHandles(0, length_s);
    this.begin();
  }

  // A hit becomes the query. As long as its seconds are left alone its own rows are searched with, which needs no decoding.
  use(hit) {
    this.now = { ...hit, touched: false, length_s: hit.end_s };
    this.place(false);
    show(video, ofIndex(this.page.of, hit), { loop: true, around_s: 15 });
    const placed = video.onloadedmetadata;
    video.onloadedmetadata = () => {
      placed();
      const end_s = video.moment.base_s + video.duration;
      if (Number.isFinite(end_s)) this.setHandles(video.moment.base_s, Math.max(end_s, hit.end_s));
    };
    this.setHandles(0, hit.end_s);
    this.begin();
    this.onChange();
  }

  // Nothing moves by itself for who has asked for that: then there are controls.
  begin() {
    video.controls = still.matches;
    if (!still.matches) play(video);
  }

  place(isPicture) {
    if (isPicture) stop(video);
    $("query-empty").hidden = true;
    $("choose").textContent = "choose another";
    video.hidden = isPicture;
    picture.hidden = !isPicture;
    $("moment").hidden = isPicture;
    $("query-name").textContent = this.now.name;
  }

  setHandles(first_s, last_s) {
    for (const handle of [from, to]) [handle.min, handle.max] = [first_s, last_s];
    [from.value, to.value] = [this.now.start_s, this.now.end_s];
    this.paint();
  }

  drag(handle) {
    let [start_s, end_s] = [Number(from.value), Number(to.value)];
    if (end_s - start_s < MIN_S) {
      if (handle === from) start_s = end_s - MIN_S; else end_s = start_s + MIN_S;
      [from.value, to.value] = [start_s, end_s];
    }
    Object.assign(this.now, { start_s, end_s, touched: true });
    Object.assign(video.moment.moment, { start_s, end_s });
    seek(video, handle === from ? start_s : Math.max(start_s, end_s - MIN_S));
    this.paint();
  }

  paint() {
    const { start_s, end_s } = this.now, span = from.max - from.min || 1;
    const percent = (s) => `${(100 * (s - from.min)) / span}%`;
    $("track-chosen").style.left = percent(start_s);
    $("track-chosen").style.width = `${(100 * (end_s - start_s)) / span}%`;
    $("moment-said").textContent = `${clock(start_s)} – ${clock(end_s)}`;
    from.setAttribute("aria-valuetext", `${start_s.toFixed(1)} seconds`);
    to.setAttribute("aria-valuetext", `${end_s.toFixed(1)} seconds`);
  }

  // What to ask with, null when there is no query.
  asked() {
    if (!this.now) return null;
    const { query, video: number, start_s, end_s, rows, touched } = this.now;
    if (!touched) return { like: rows.slice(0, 1000) }; // all that is shown as the moment
    return { moment: query ? { query, start_s, end_s } : { video: number, start_s, end_s } };
  }
}
