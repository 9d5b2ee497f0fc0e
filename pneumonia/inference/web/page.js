"use strict";
// Films go to this machine one after the other, and only their answers stay: settings are applied to those.

const find = (id) => document.getElementById(id);
const [films, settings, prevalence, opacity] = ["films", "settings", "prevalence", "opacity"].map(find);
const { maxFiles, maxBytes } = settings.dataset;
const TRIES = 60, PAUSE = 1000; // when others wait already; milliseconds

let rows = [];
let reading = new AbortController();
let showing = new AbortController();

async function ask(path, type, body, signal) {
  for (let left = TRIES; ; left--) {
    const headers = { "Content-Type": type };
    const answer = await fetch(path, { method: "POST", headers, body, signal });
    if (answer.ok) return answer.json();
    if (answer.status !== 503 || left === 0) throw new Error((await answer.text()).slice(0, 500));
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    signal.throwIfAborted();
  }
}

function explain(error) {
  return error instanceof TypeError ? "no answer: the page has ended, or the file cannot be read any more" : error.message;
}

async function read(file, signal) {
  if (file.size > maxBytes) throw new Error(`larger than ${maxBytes / 2 ** 20} MB; shrink it`);
  const query = new URLSearchParams({ name: file.name });
  return ask(`film?${query}`, "application/octet-stream", file, signal);
}

async function readAll(files) {
  reading.abort();
  const { signal } = (reading = new AbortController());
  rows = [];
  find("answers").replaceChildren();
  if (files.length > maxFiles) {
    const error = `${files.length} files: ${maxFiles} at most; python -m pneumonia predict answers any number`;
    find("answers").ariaBusy = "false";
    say(error);
    return add({ path: "upload", error }, "");
  }
  find("answers").ariaBusy = "true";
  let answers;
  for (const [at, file] of files.entries()) {
    say(`Reading ${at + 1} of ${files.length}: ${file.name}`);
    let found;
    try {
      found = await read(file, signal);
    } catch (error) {
      found = { row: { path: file.name, error: `${file.name}: ${explain(error)}` }, picture: "" };
    }
    if (signal.aborted) return;
    answers = await add(found.row, found.picture);
    if (signal.aborted) return;
  }
  find("answers").ariaBusy = "false";
  summarise(answers);
}

function summarise(answers) {
  if (!answers?.length) return;
  const failed = answers.filter((answer) => answer.failed).length;
  const counts = `${answers.length - failed} answered` + (failed ? `, ${failed} could not be read` : "");
  say(answers.length === 1 ? answers[0].sentence : counts);
}

function add(row, picture) {
  rows.push(row);
  const article = document.createElement("article");
  article.className = "waiting";
  article.innerHTML = `${picture}<div class="answer"></div>`;
  find("answers").append(article);
  return show();
}

// Every answer at the chosen settings; returns them, or nothing where a later call has taken over.
async function show() {
  showing.abort();
  const { signal } = (showing = new AbortController());
  const point = settings.elements.point.value;
  const asked = JSON.stringify({ rows, operating_point: point, prevalence: Number(prevalence.value) });
  try {
    const { answers, table } = await ask("answers", "application/json", asked, signal);
    if (signal.aborted) return null;
    for (const [at, article] of [...find("answers").children].entries()) {
      article.querySelector(".answer").innerHTML = answers[at].html;
      article.className = answers[at].failed ? "failed" : "";
    }
    find("table").innerHTML = table;
    return answers;
  } catch (error) {
    if (!signal.aborted) say(explain(error));
    return null;
  }
}

function say(text) {
  find("status").textContent = text;
}

function showSettings() {
  for (const input of [prevalence, opacity]) {
    const text = `${Math.round(100 * input.value)} %`;
    input.setAttribute("aria-valuetext", text);
    document.querySelector(`output[for=${input.id}]`).value = text;
  }
  document.documentElement.style.setProperty("--heat", opacity.value);
}

films.addEventListener("change", () => {
  const chosen = [...films.files];
  films.value = ""; // so that the same file can be chosen again
  if (chosen.length) readAll(chosen);
});
settings.addEventListener("submit", (event) => event.preventDefault());
settings.addEventListener("input", (event) => {
  showSettings();
  if (event.target.name === "point" || event.target === prevalence) show().then(summarise);
});
for (const [kind, isOver] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.querySelector(".drop").classList.toggle("over", isOver);
    if (kind === "drop" && event.dataTransfer.files.length) readAll([...event.dataTransfer.files]);
  });
}
showSettings();
