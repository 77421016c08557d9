// The mixer: plays, draws and mixes what the server has made; asks it for nothing but files, once.
// Everything that comes from a recording or its name is set as text.
const PIECE = 2; // seconds that are read and played at once
const AHEAD = 6; // seconds that are made ready before they are heard
const SILENT = -40; // dB of a gain that is none
const $ = (name, within = element) => within.querySelector(name);

let tracks = []; // the recording first, then the outputs
let shape = { rate: 1, frames: 0, channels: 1 };
let context = null;
let run = null; // what is playing
let position = 0; // frames, where it stands while nothing plays
let shown = 0; // of the recordings, so that a late answer for an earlier one is left alone

const address = (path) => "gradio_api/file=" + path.split("/").map(encodeURIComponent).join("/");
const number = (value, digits = 1) => value.toFixed(digits).replace("-", "\u2212");
const decibels = (value) => (value <= SILENT ? "off" : `${value > 0 ? "+" : ""}${number(value, value % 1 ? 1 : 0)} dB`);
const clock = (seconds, digits = 1) => {
  const tenths = Math.floor(seconds * 10 + 1e-6);
  return `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(digits).padStart(digits ? 4 : 2, "0")}`;
};

// What is heard of every track: the recording alone, or all outputs that nobody has silenced.
function gains() {
  const alone = tracks[0]?.alone;
  const solo = tracks.some((track, index) => index && track.solo);
  return tracks.map((track, index) => {
    if (!index) return alone ? 1 : 0;
    if (alone || track.mute || track.gain <= SILENT || (solo && !track.solo)) return 0;
    return 10 ** (track.gain / 20);
  });
}

function mix() {
  gains().forEach((gain, index) => {
    const track = tracks[index];
    track.node?.gain.setTargetAtTime(gain, context.currentTime, 0.01);
    track.row.classList.toggle("quiet", index && !gain);
    for (const name of ["mute", "solo"]) $(`.${name}`, track.row).setAttribute("aria-pressed", !!track[name]);
    $(".compare", track.row).setAttribute("aria-pressed", !!track.alone);
    $(".amount", track.row).textContent = decibels(track.gain);
    fill(track.slider);
  });
}

const fill = (input) => input.style.setProperty("--part", `${(100 * (input.value - input.min)) / (input.max - input.min || 1)}%`);

// Samples (time, channel) of a track, from its file in the browser.
async function read(track, start, count) {
  const frame = 4 * shape.channels;
  return new Float32Array(await track.blob.slice(start * frame, (start + count) * frame).arrayBuffer());
}

function start(frame) {
  stop();
  run = { first: frame, next: frame, at: null, sources: new Set() };
  $(".ready").classList.add("playing");
  $(".play").setAttribute("aria-label", "Pause");
  feed(run);
  watchPlaying(run);
}

function stop() {
  if (!run) return;
  position = heard();
  for (const source of run.sources) source.stop();
  run = null;
  $(".ready").classList.remove("playing");
  $(".play").setAttribute("aria-label", "Play");
  draw();
}

// The frame that is heard now.
function heard() {
  if (!run) return position;
  const passed = run.at === null ? 0 : Math.max(0, context.currentTime - run.at);
  return Math.min(shape.frames, run.first + passed * shape.rate);
}

// Make the next pieces of all tracks ready, each to begin where the last one ends, to the sample.
async function feed(mine) {
  if (mine.feeding) return;
  mine.feeding = true;
  while (run === mine && mine.next < shape.frames) {
    const offset = (mine.next - mine.first) / shape.rate;
    if (mine.at !== null && mine.at + offset > context.currentTime + AHEAD) break;
    const count = Math.min(PIECE * shape.rate, shape.frames - mine.next);
    const pieces = await Promise.all(tracks.map((track) => read(track, mine.next, count)));
    if (run !== mine) return;
    mine.at ??= context.currentTime + 0.05;
    pieces.forEach((samples, index) => {
      const buffer = context.createBuffer(shape.channels, count, shape.rate);
      for (let channel = 0; channel < shape.channels; channel++) {
        const plane = buffer.getChannelData(channel);
        for (let time = 0; time < count; time++) plane[time] = samples[time * shape.channels + channel];
      }
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(tracks[index].node);
      source.onended = () => mine.sources.delete(source);
      source.start(mine.at + offset);
      mine.sources.add(source);
    });
    mine.next += count;
  }
  mine.feeding = false;
}

function watchPlaying(mine) {
  const timer = setInterval(() => (run === mine ? feed(mine) : clearInterval(timer)), 250);
  const frame = () => {
    if (run !== mine) return;
    draw();
    if (heard() >= shape.frames) {
      stop();
      seek(0);
    } else requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

function draw() {
  const seconds = heard() / shape.rate;
  $(".now").textContent = clock(seconds);
  $(".seek").value = seconds;
  fill($(".seek"));
  $(".tracks").style.setProperty("--at", heard() / shape.frames || 0);
}

function seek(frame) {
  const playing = !!run;
  stop();
  position = Math.round(Math.min(shape.frames, Math.max(0, frame)));
  playing ? start(position) : draw();
}

async function toggle() {
  if (run) return stop();
  if (!context) {
    // at the rate of the recording nothing is resampled; where a browser does not take it, piece by piece
    try { context = new AudioContext({ sampleRate: shape.rate }); } catch { context = new AudioContext(); }
    for (const track of tracks) {
      track.node = new GainNode(context, { gain: 0 });
      track.node.connect(context.destination);
    }
    mix();
  }
  await context.resume();
  start(Math.round(position));
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// The mix as WAV of 32-bit floats, piece by piece, at the rate of the recording.
async function remix() {
  const { rate, frames, channels } = shape;
  const volume = gains();
  const bytes = frames * channels * 4;
  const head = new DataView(new ArrayBuffer(58));
  const text = (at, word) => [...word].forEach((letter, index) => head.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF"); head.setUint32(4, 50 + bytes, true); text(8, "WAVEfmt ");
  head.setUint32(16, 18, true); head.setUint16(20, 3, true); head.setUint16(22, channels, true);
  head.setUint32(24, rate, true); head.setUint32(28, rate * channels * 4, true);
  head.setUint16(32, channels * 4, true); head.setUint16(34, 32, true); head.setUint16(36, 0, true);
  text(38, "fact"); head.setUint32(42, 4, true); head.setUint32(46, frames, true);
  text(50, "data"); head.setUint32(54, bytes, true);
  const parts = [head.buffer];
  const step = 10 * rate;
  for (let first = 0; first < frames; first += step) {
    const count = Math.min(step, frames - first);
    const sum = new Float32Array(count * channels);
    for (const [index, track] of tracks.entries()) {
      if (!volume[index]) continue;
      const samples = await read(track, first, count);
      for (let place = 0; place < sum.length; place++) sum[place] += volume[index] * samples[place];
    }
    parts.push(new Blob([sum]));
  }
  return new Blob(parts, { type: "audio/wav" });
}

function rowOf(track, index, value) {
  const row = $("template.track").content.firstElementChild.cloneNode(true);
  const name = track.name[0].toUpperCase() + track.name.slice(1);
  Object.assign(track, { row, slider: $(".gain", row), gain: 0, mute: false, solo: false, alone: false });
  $(".name", row).textContent = name;
  $(".level", row).textContent = index ? `${number(track.level)} dB` : "";
  $(".level", row).title = "Level of the output, the recording's being 0 dB";
  $("img", row).src = track.picture;
  $("img", row).alt = `Spectrogram: ${name}`;
  $(".top", row).textContent = `${number(value.sample_rate / 2000, value.sample_rate % 2000 ? 1 : 0)} kHz`;
  const controls = index ? [".compare"] : [".mute", ".solo", ".gain", ".amount", ".save"];
  for (const control of controls) $(control, row).hidden = true;
  for (const [control, what] of [[".mute", "Mute"], [".solo", "Solo"], [".gain", "Gain in dB of"], [".save", "Download"]])
    $(control, row).setAttribute("aria-label", `${what} ${name}`);
  $(".compare", row).setAttribute("aria-label", "Listen to the recording instead of the mix");
  const change = (key) => () => { track[key] = !track[key]; mix(); };
  $(".mute", row).onclick = change("mute");
  $(".solo", row).onclick = change("solo");
  $(".compare", row).onclick = change("alone");
  track.slider.oninput = () => { track.gain = Number(track.slider.value); mix(); };
  track.slider.ondblclick = () => { track.slider.value = 0; track.slider.oninput(); };
  $(".save", row).onclick = async () => {
    const file = track.file.split("/").pop();
    save(await (await fetch(address(track.file))).blob(), `${value.stem} ${file}`);
  };
  $(".picture", row).onclick = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * shape.frames);
  };
  return row;
}

function show(part) {
  for (const name of ["busy", "error", "ready"]) $(`.${name}`).hidden = name !== part;
}

function fail(name, why) {
  $(".error .name").textContent = name;
  $(".error .what").textContent = why;
  show("error");
}

async function open(value) {
  const mine = ++shown;
  stop();
  context?.close();
  context = null;
  tracks = value.tracks.map((track) => ({ ...track }));
  shape = { rate: value.sample_rate, frames: Math.round(value.seconds * value.sample_rate), channels: value.channels };
  position = 0;
  $(".ready .name").textContent = value.name;
  $(".facts").textContent = value.facts;
  $(".notes").replaceChildren(...value.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  $(".tracks").replaceChildren(...tracks.map((track, index) => rowOf(track, index, value)));
  $(".seek").max = value.seconds;
  $(".end").textContent = clock(value.seconds);
  $(".play").disabled = $(".remix").disabled = true;
  show("ready");
  mix();
  draw();
  try {
    const blobs = await Promise.all(tracks.map(async (track) => {
      const answer = await fetch(address(track.samples));
      if (!answer.ok) throw new Error(answer.statusText);
      return answer.blob();
    }));
    if (mine !== shown) return;
    blobs.forEach((blob, index) => { tracks[index].blob = blob; });
    $(".play").disabled = $(".remix").disabled = false;
  } catch {
    if (mine === shown) fail(value.name, "is not there any more; drop it again.");
  }
}

function update() {
  const value = props.value || {};
  if (value.tracks) return open(value);
  shown++;
  stop();
  if (value.error) return fail(value.name, value.error);
  show(value.name ? "busy" : "");
  if (!value.name) return;
  $(".busy .name").textContent = value.name;
  $(".busy .what").textContent = value.total
    ? `is separated: ${value.done.toFixed(0)} of ${value.total.toFixed(0)} s`
    : "is opened";
  const bar = $(".busy progress");
  if (value.done) { bar.max = value.total; bar.value = value.done; } else bar.removeAttribute("value");
}

$(".play").onclick = toggle;
$(".remix").onclick = async () => save(await remix(), `${props.value.stem} remix.wav`);
$(".seek").oninput = (event) => seek(event.target.value * shape.rate);
watch("value", update);
update();
