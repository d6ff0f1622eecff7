// Plays a moment in a video element: the file itself if the browser can, else an H.264 preview of its seconds.

export const prefersReducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

// `moment`: {file, preview, start_s, end_s}; `preview` takes start and end seconds. With `loop` the moment repeats.
export function showMoment(video, moment, { loop = false, around_s = 0, failed = () => {} } = {}) {
  const state = { base_s: 0, moment, loop };
  video.playback = state;
  const fallBack = () => {
    if (video.playback !== state || state.base_s !== 0 || state.tried) return failed();
    state.tried = true;
    state.base_s = Math.max(0, moment.start_s - around_s);
    video.src = moment.preview(state.base_s, moment.end_s + around_s);
    if (state.isPlaying) play(video); // changing the source has stopped it
  };
  video.onerror = fallBack;
  video.onloadedmetadata = () => {
    if (!video.videoWidth) return fallBack(); // sound without a picture: the browser lacks the codec
    seek(video, moment.start_s);
  };
  video.src = moment.file || moment.preview(0, 60);
}

export const seek = (video, at_s) => { video.currentTime = Math.max(0, at_s - video.playback.base_s); };
export const currentTime_s = (video) => video.currentTime + video.playback.base_s;

export function play(video) {
  if (video.playback) video.playback.isPlaying = true;
  video.play().catch(() => {}); // browsers may refuse before the first click
  if (video.playback?.loop) requestAnimationFrame(() => loopMoment(video));
}

function loopMoment(video) {
  if (video.paused || !video.isConnected || !video.playback?.loop) return;
  const { start_s, end_s } = video.playback.moment;
  if (currentTime_s(video) >= end_s || currentTime_s(video) < start_s - 0.5) seek(video, start_s);
  requestAnimationFrame(() => loopMoment(video));
}

export function stop(video) {
  video.pause();
  video.onerror = video.onloadedmetadata = null;
  video.removeAttribute("src");
  video.load();
}

export function indexedMoment(of, hit) {
  const address = `/api/${of}/videos/${hit.video}`;
  return {
    file: `${address}/file`,
    preview: (start, end) => `${address}/preview?start=${start.toFixed(3)}&end=${end.toFixed(3)}`,
    start_s: hit.start_s,
    end_s: hit.end_s,
  };
}
