// What a page does beyond links and forms: a dropped picture, and filters that close on narrow screens.
"use strict";
(() => {
  const root = document.documentElement;
  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

  let picture = null;

  const take = (input, file) => {
    const transfer = new DataTransfer();
    transfer.items.add(file);
    input.files = transfer.files;
  };
  const showPreview = (input) => {
    const preview = document.getElementById("preview");
    picture = input.files[0] ?? null;
    if (preview && picture) {
      preview.src = URL.createObjectURL(picture);
      preview.hidden = false;
    }
  };
  const searchBy = (files) => {
    const input = document.getElementById("image");
    if (!input || !files.length || !files[0].type.startsWith("image/")) return;
    take(input, files[0]);
    showPreview(input);
    input.form.requestSubmit();
  };
  // The results of a picture keep it, for the filters that are chosen next.
  document.addEventListener("htmx:load", () => {
    const input = document.getElementById("image");
    if (!input?.form.hasAttribute("data-pictured")) picture = null;
    else if (picture && !input.files.length) {
      take(input, picture);
      showPreview(input);
    }
  });

  document.addEventListener("dragover", (event) => {
    if (!holdsFile(event) || !document.getElementById("image")) return;
    event.preventDefault();
    root.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) root.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    root.classList.remove("dropping");
    if (!holdsFile(event) || !document.getElementById("image")) return;
    event.preventDefault();
    searchBy(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) searchBy(event.clipboardData.files);
  });
  document.addEventListener("change", (event) => {
    if (event.target.id === "image") showPreview(event.target);
  });

  // What a new part of the page has to say is said where screen readers listen.
  document.addEventListener("htmx:load", () => {
    const said = document.getElementById("main")?.dataset.said ?? "";
    const announcement = document.getElementById("announcement");
    if (announcement.textContent.trim() !== said.trim()) announcement.textContent = said;
  });

  const isNarrow = matchMedia("(max-width: 46rem)");
  const fold = () => {
    const filters = document.querySelector(".filters");
    if (filters && isNarrow.matches && !filters.querySelector(":checked")) filters.open = false;
  };
  document.addEventListener("DOMContentLoaded", fold);
})();
