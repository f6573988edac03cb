// ---- wide content --------------------------------------------------------------------------
// Boxes that can be scrolled fade out at the right, because phones hide the scroll bar.
function startFading() {
  const look = (box) => {
    // A table that has just been replaced is no longer inside a box.
    box?.classList.toggle("more-right", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  };
  // A chart is resized after its box, inside a shadow root that observers cannot see. All boxes are
  // therefore checked once sizes are stable and charts have been laid out in the previous frame.
  let rest;
  const again = () => requestAnimationFrame(() => document.querySelectorAll(".scroll").forEach(look));
  const later = () => { clearTimeout(rest); rest = setTimeout(again, 150); };
  const sizes = new ResizeObserver((seen) => { seen.forEach(({ target }) => look(target.closest(".scroll"))); later(); });
  for (const box of document.querySelectorAll(".scroll")) {
    const watch = () => { for (const part of [box, ...box.children]) sizes.observe(part); };
    box.addEventListener("scroll", () => look(box), { passive: true });
    new MutationObserver(watch).observe(box, { childList: true });
    watch();
  }
}

// ---- start ---------------------------------------------------------------------------------
async function start() {
  startTheme();
  startMenus();
  startTools();
  await startTables();
  startFading();
  await drawVisibleCharts();
  startLayers();
  root.dataset.drawn = "yes";
}
start().catch((error) => {
  const text = "DecompressionStream" in window
    ? `The charts and tables of this page could not be drawn: ${error.message}`
    : "This browser is too old for the charts and tables of this page. Browsers since 2023 show them.";
  document.querySelector("main").prepend(element("p", { className: "card", role: "alert", textContent: text }));
  throw error;
});
