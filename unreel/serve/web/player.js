// The player: a dialog with the video of a hit, and buttons to mark it or to search with it.

import { formatTime } from "./api_client.js";
import { indexedMoment, play, seek, showMoment, stop } from "./video_playback.js";

const player = document.getElementById("player");
const video = document.getElementById("player-video");
const playerElement = (name) => document.getElementById(`player-${name}`);

export function openPlayer(page, hit, from = null) {
  playerElement("name").textContent = hit.name;
  playerElement("said").textContent = `${hit.label ? `${hit.label}, ` : ""}${formatTime(hit.start_s)} – ${formatTime(hit.end_s)}`;
  const failed = () => { playerElement("said").textContent = "This video can't be played: it is damaged, or was deleted after it was indexed."; };
  showMoment(video, indexedMoment(page.of, hit), { around_s: 15, failed });
  playerElement("use").onclick = () => { player.close(); page.use(hit); };
  playerElement("again").onclick = () => { seek(video, hit.start_s); play(video); };
  for (const kind of ["yes", "no"]) playerElement(kind).onclick = () => { page.marks.toggle(hit, kind); updatePlayerButtons(page, hit); };
  updatePlayerButtons(page, hit);
  playerElement("close").onclick = () => player.close();
  player.onclose = () => { stop(video); from?.focus(); };
  player.onclick = (event) => { if (event.target === player) player.close(); };
  player.showModal();
  play(video);
}

function updatePlayerButtons(page, hit) {
  const kind = page.marks.kind(hit);
  for (const name of ["yes", "no"]) playerElement(name).setAttribute("aria-pressed", String(kind === name));
}
