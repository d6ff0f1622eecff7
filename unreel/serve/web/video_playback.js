// A moment in a video element: the file itself where the browser plays it, else an H.264 preview of these seconds.

export const still = matchMedia("(prefers-reduced-motion: reduce)");

// `moment`: {file, preview, start_s, end_s}; `preview` is a function of two seconds. With `loop` it stays within the moment.
export function show(video, moment, { loop = false, around_s = 0, failed = () => {} } = {}) {
  const shown = { base_s: 0, moment, loop };
  video.moment = shown;
  const fallBack = () => {
    if (video.moment !== shown || shown.base_s !== 0 || shown.tried) return failed(shown);
    shown.tried = true;
    shown.base_s = Math.max(0, moment.start_s - around_s);
    video.src = moment.preview(shown.base_s, moment.end_s + around_s);
    if (shown.wanted) play(video); // another source stops what was playing
  };
  video.onerror = fallBack;
  video.onloadedmetadata = () => {
    if (!video.videoWidth) return fallBack(); // sound without a picture: the codec is not known here
    seek(video, moment.start_s);
  };
  video.src = moment.file || moment.preview(0, 60);
}

export const seek = (video, at_s) => { video.currentTime = Math.max(0, at_s - video.moment.base_s); };
export const time_s = (video) => video.currentTime + video.moment.base_s;

export function play(video) {
  if (video.moment) video.moment.wanted = true;
  video.play().catch(() => {}); // refused before a gesture, or left before it began
  if (video.moment?.loop) requestAnimationFrame(() => stay(video));
}

function stay(video) {
  if (video.paused || !video.isConnected || !video.moment?.loop) return;
  const { start_s, end_s } = video.moment.moment;
  if (time_s(video) >= end_s || time_s(video) < start_s - 0.5) seek(video, start_s);
  requestAnimationFrame(() => stay(video));
}

export function stop(video) {
  video.pause();
  video.onerror = video.onloadedmetadata = null;
  video.removeAttribute("src");
  video.load();
}

export function ofIndex(of, hit) {
  const at = `/api/${of}/videos/${hit.video}`;
  return {
    file: `${at}/file`,
    preview: (start, end) => `${at}/preview?start=${start.toFixed(3)}&end=${end.toFixed(3)}`,
    start_s: hit.start_s,
    end_s: hit.end_s,
  };
}
