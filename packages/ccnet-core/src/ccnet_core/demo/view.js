// The picture under the colours of its classes. gr.HTML gives `element`, `trigger`, `props` and `watch`.
const part = name => element.querySelector("." + name);
const stage = part("stage"), canvas = part("colours"), message = part("message"), mark = part("mark");
const HINT = props.attends ? "Point at the picture for its classes, click for what a pixel looks at." :
  "Point at the picture for its classes.";
let answer = null, labels = null;

function say(text, error = false) {
  message.textContent = text;
  message.classList.toggle("error", error);
}

async function draw() {
  const shown = answer = props.value;
  const drawable = Boolean(shown && !shown.error);
  for (const name of ["stage", "controls", "legend"]) part(name).hidden = true;
  mark.hidden = true;
  say(shown ? shown.error || "" : "", Boolean(shown && shown.error));
  if (!drawable) return;
  part("picture").src = shown.picture;
  const [indices] = await Promise.all([pixels(shown.indices), part("picture").decode()]);
  if (shown !== answer) return; // another answer came meanwhile
  paint(indices, shown.classes);
  fillLegend(shown.classes);
  const { width, height } = indices;
  stage.style.maxWidth = `calc(75vh * ${width / height})`;
  stage.classList.toggle("large", width > stage.parentElement.clientWidth);
  for (const name of ["stage", "controls", "legend"]) part(name).hidden = false;
  say(HINT);
}

async function pixels(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const drawing = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  const context = drawing.getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, image.width, image.height);
}

function paint(indices, classes) {
  const { data, width, height } = indices;
  labels = new Uint16Array(width * height);
  for (let i = 0; i < labels.length; i++) {
    labels[i] = data[4 * i] + 256 * data[4 * i + 1];
    data.set(classes[labels[i]].colour, 4 * i);
  }
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(indices, 0, 0);
}

function fillLegend(classes) {
  const order = classes.map((_, index) => index).filter(index => classes[index].share > 0);
  order.sort((a, b) => classes[b].share - classes[a].share);
  part("legend").tBodies[0].replaceChildren(...order.map(index => {
    const row = document.createElement("tr"), colour = document.createElement("b");
    colour.style.background = `rgb(${classes[index].colour})`;
    row.dataset.index = index;
    row.insertCell().append(colour);
    row.insertCell().textContent = classes[index].name;
    row.insertCell().textContent = `${(100 * classes[index].share).toFixed(1)} %`;
    return row;
  }));
}

// The pixel of the picture under the mouse, however large the picture is drawn.
function pixelAt(event) {
  const box = canvas.getBoundingClientRect();
  const place = (offset, length, count) => Math.min(count - 1, Math.max(0, Math.floor(offset / length * count)));
  return [place(event.clientX - box.left, box.width, canvas.width),
    place(event.clientY - box.top, box.height, canvas.height)];
}

function highlight(index) {
  for (const row of part("legend").rows) row.classList.toggle("here", row.dataset.index === String(index));
}

stage.addEventListener("pointermove", event => {
  const [x, y] = pixelAt(event), index = labels[y * canvas.width + x];
  say(`${answer.classes[index].name} (x ${x}, y ${y})`);
  highlight(index);
});
stage.addEventListener("pointerleave", () => { say(HINT); highlight(null); });
stage.addEventListener("click", event => {
  if (!props.attends) return;
  const [x, y] = pixelAt(event);
  Object.assign(mark.style, { left: `${100 * (x + 0.5) / canvas.width}%`, top: `${100 * (y + 0.5) / canvas.height}%` });
  mark.hidden = false;
  trigger("select", { x, y });
});
part("opacity").addEventListener("input", event => { canvas.style.opacity = event.target.value / 100; });
part("download").addEventListener("click", async event => {
  event.preventDefault();
  const bytes = Uint8Array.from(atob(answer.labels.split(",")[1]), letter => letter.charCodeAt(0));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  link.download = `${answer.name}_labels.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});
canvas.style.opacity = 0.5;
watch("value", draw);
draw();
