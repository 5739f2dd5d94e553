// The map: points on a canvas, moved in with a mouse, a finger or keys.
"use strict";
(() => {
  const canvas = document.getElementById("map");
  if (!canvas) return;
  const { ids, points, domains, modalities } = JSON.parse(canvas.dataset.map);
  const card = document.getElementById("map-card");
  const context = canvas.getContext("2d");
  const MARGIN = 24;
  const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  let view = { scale: 1, x: 0, y: 0 };
  let chosen = -1;
  let places = [];
  let dragged = null;
  let timer = 0;

  const bounds = points.reduce(
    (b, [x, y]) => [Math.min(b[0], x), Math.max(b[1], x), Math.min(b[2], y), Math.max(b[3], y)],
    [Infinity, -Infinity, Infinity, -Infinity],
  );
  const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const shape = (modality, x, y, r) => {
    context.beginPath();
    if (modality === 0) context.arc(x, y, r, 0, 7);
    else if (modality === 1) {
      context.moveTo(x, y - 1.2 * r);
      context.lineTo(x + 1.1 * r, y + 0.9 * r);
      context.lineTo(x - 1.1 * r, y + 0.9 * r);
      context.closePath();
    } else context.rect(x - r, y - r, 2 * r, 2 * r);
  };

  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const unit = Math.min(
      (width - 2 * MARGIN) / (bounds[1] - bounds[0] || 1),
      (height - 2 * MARGIN) / (bounds[3] - bounds[2] || 1),
    ) * view.scale;
    const middle = [(bounds[0] + bounds[1]) / 2, (bounds[2] + bounds[3]) / 2];
    places = points.map(([x, y]) => [
      width / 2 + (x - middle[0]) * unit + view.x,
      height / 2 - (y - middle[1]) * unit + view.y,
    ]);
    const colours = domains.map((_, n) => colourOf(`--c${n % 8}`));
    const r = Math.max(2.5, Math.min(6, 130 / Math.sqrt(points.length))) * Math.min(2, Math.sqrt(view.scale));
    context.globalAlpha = 0.75;
    points.forEach(([, , domain, modality], at) => {
      context.fillStyle = colours[domain];
      shape(modality, places[at][0], places[at][1], r);
      context.fill();
    });
    context.globalAlpha = 1;
    if (chosen >= 0) {
      context.lineWidth = 3;
      context.strokeStyle = colourOf("--ink");
      shape(points[chosen][3], places[chosen][0], places[chosen][1], r + 4);
      context.stroke();
    }
  };

  const choose = (at) => {
    if (at < 0 || at === chosen) return;
    chosen = at;
    draw();
    clearTimeout(timer);
    timer = setTimeout(() => {
      const address = `${canvas.dataset.card}?${new URLSearchParams({ id: ids[at] })}`;
      htmx.ajax("GET", address, { target: card, swap: "innerHTML" });
    }, 120);
  };
  const open = () => {
    if (chosen >= 0) location.assign(`${canvas.dataset.item}?${new URLSearchParams({ id: ids[chosen] })}`);
  };
  const nearest = (x, y, most) => {
    let best = -1;
    let least = most;
    places.forEach(([px, py], at) => {
      const far = Math.hypot(px - x, py - y);
      if (far < least) [best, least] = [at, far];
    });
    return best;
  };
  // The nearest point whose direction is within 60 degrees of that of the key.
  const next = ([dx, dy]) => {
    if (chosen < 0) return nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, Infinity);
    const [x, y] = places[chosen];
    let best = -1;
    let least = Infinity;
    places.forEach(([px, py], at) => {
      const along = (px - x) * dx + (py - y) * dy;
      const aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      const cost = along + 2 * aside;
      if (along > 0.5 && aside < 1.75 * along && cost < least) [best, least] = [at, cost];
    });
    return best;
  };
  const show = (at) => {
    const [x, y] = places[at];
    if (x < MARGIN || y < MARGIN || x > canvas.clientWidth - MARGIN || y > canvas.clientHeight - MARGIN) {
      view.x += canvas.clientWidth / 2 - x;
      view.y += canvas.clientHeight / 2 - y;
      draw();
    }
  };
  const zoom = (factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) => {
    const scale = Math.max(1, Math.min(60, view.scale * factor));
    const grown = scale / view.scale;
    const [cx, cy] = [x - canvas.clientWidth / 2, y - canvas.clientHeight / 2];
    view = { scale, x: cx - (cx - view.x) * grown, y: cy - (cy - view.y) * grown };
    if (scale === 1) view = { scale, x: 0, y: 0 };
    draw();
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (DIRECTIONS[event.key]) {
      const found = next(DIRECTIONS[event.key]);
      if (found >= 0) {
        choose(found);
        show(found);
      }
    } else if (event.key === "Enter") open();
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") zoom(0);
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("pointerdown", (event) => {
    dragged = { x: event.clientX, y: event.clientY, from: { ...view }, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!dragged) {
      choose(nearest(...at(event), 14));
      return;
    }
    const [dx, dy] = [event.clientX - dragged.x, event.clientY - dragged.y];
    dragged.moved ||= Math.hypot(dx, dy) > 4;
    if (dragged.moved) {
      view = { ...view, x: dragged.from.x + dx, y: dragged.from.y + dy };
      draw();
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    const moved = dragged?.moved;
    dragged = null;
    if (!moved) choose(nearest(...at(event), 20));
  });
  canvas.addEventListener("dblclick", open);
  canvas.addEventListener("wheel", (event) => {
    // Without a key the wheel scrolls the page, as everywhere.
    if (!event.ctrlKey && document.activeElement !== canvas) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...at(event));
  }, { passive: false });
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
  canvas.dataset.drawn = String(points.length);
  canvas.dataset.modalities = modalities.join(" ");
})();
