// ---- theme ---------------------------------------------------------------------------------
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const CHOICES = ["auto", "light", "dark"];
let choice = "auto";
let printing = false;

const remember = (value) => {
  // A page opened from a file may have no storage. The choice is then lost when the page is closed.
  try { localStorage.setItem("invariscope-theme", value); } catch { /* nothing to do */ }
};
const recall = () => {
  try { return localStorage.getItem("invariscope-theme"); } catch { return null; }
};
const currentTheme = () => {
  if (printing) return "light";
  return choice === "auto" ? (prefersDark.matches ? "dark" : "light") : choice;
};

// Charts cannot see CSS variables: each model carries the properties of both themes in its tags.
const entry = (holder, name) => (holder instanceof Map ? holder.get(name) : holder?.[name]);
const plain = (holder) => (holder instanceof Map ? Object.fromEntries(holder) : holder);
const columnOf = (source, name) => entry(source.data, name);
function tagged(model, kind) {
  for (const tag of model.tags ?? []) {
    const found = typeof tag === "object" ? entry(tag, kind) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}
function setForms(doc, kind, choose) {
  for (const model of doc.all_models) {
    for (const tag of model.tags ?? []) {
      const forms = entry(tag, kind);
      const form = forms && entry(forms, choose(forms));
      if (form) model.setv(plain(form));
    }
  }
}
const recolour = (doc) => setForms(doc, "theme", currentTheme);
function applyTheme() {
  if (choice === "auto") root.removeAttribute("data-theme");
  else root.setAttribute("data-theme", choice);
  root.classList.toggle("dark", currentTheme() === "dark");
  document.getElementById("theme").textContent = `Theme: ${choice}`;
  for (const doc of Bokeh.documents) recolour(doc);
}
function startTheme() {
  const button = document.getElementById("theme");
  const known = recall();
  if (CHOICES.includes(known)) choice = known;
  button.hidden = false;
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    remember(choice);
    applyTheme();
  });
  prefersDark.addEventListener("change", applyTheme);
  addEventListener("beforeprint", () => { printing = true; applyTheme(); drawnViews().forEach(paintNow); });
  addEventListener("afterprint", () => { printing = false; applyTheme(); });
  applyTheme();
}
