// Pockets in three dimensions on canvases: drag or arrow keys turn, the wheel on a focused view or + and - zoom.
"use strict";
(function () {
  const KINDS = [
    { colour: "--muted", width: 1.6 }, // crystal
    { colour: "--accent", width: 3 }, // predicted, every angle right
    { colour: "--bad", width: 3, dash: [4, 2.5] }, // predicted, an angle wrong
    { colour: "--good", width: 3 }, // ligand
    { colour: "--second", width: 1.6 }, // probes
    { colour: "--muted", width: 1 }, // metals, cofactors, further ligands
  ];
  const LIGAND = 3, PROBE = 4, CONTEXT = 5, TURN = Math.PI / 18, START = [0.35, -0.45];

  function multiply(a, b) {
    return a.map((_, k) => {
      const i = 3 * Math.floor(k / 3), j = k % 3;
      return a[i] * b[j] + a[i + 1] * b[j + 3] + a[i + 2] * b[j + 6];
    });
  }
  function turned(about, up) {
    const c = Math.cos(about), s = Math.sin(about), d = Math.cos(up), t = Math.sin(up);
    return multiply([1, 0, 0, 0, d, -t, 0, t, d], [c, 0, s, 0, 1, 0, -s, 0, c]);
  }

  class View {
    constructor(figure) {
      this.canvas = figure.querySelector("canvas");
      this.data = JSON.parse(figure.querySelector("script").textContent);
      this.labels = true;
      this.reach = Math.max(...this.data.points.map(Math.abs), 1);
      for (const button of figure.querySelectorAll("button")) {
        button.addEventListener("click", () => this.act(button.dataset.act, button));
      }
      figure.querySelector(".tools").hidden = false;
      this.listen();
      this.act("reset");
    }

    listen() {
      const canvas = this.canvas, keys = {
        ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", "+": "in", "=": "in", "-": "out",
        0: "reset", Home: "reset",
      };
      canvas.addEventListener("keydown", (event) => {
        if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        this.act(keys[event.key]);
      });
      canvas.addEventListener("pointerdown", (event) => {
        this.last = [event.clientX, event.clientY];
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!this.last) return;
        this.turn((event.clientX - this.last[0]) / 120, (event.clientY - this.last[1]) / 120);
        this.last = [event.clientX, event.clientY];
      });
      for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.last = null; });
      canvas.addEventListener("wheel", (event) => {
        if (document.activeElement !== canvas) return; // the page goes on scrolling past a view nobody chose
        event.preventDefault();
        this.zoomBy(Math.exp(-event.deltaY / 500));
      }, { passive: false });
    }

    act(what, button) {
      const turns = { left: [-TURN, 0], right: [TURN, 0], up: [0, -TURN], down: [0, TURN] };
      if (what in turns) this.turn(...turns[what]);
      else if (what === "in" || what === "out") this.zoomBy(what === "in" ? 1.2 : 1 / 1.2);
      else if (what === "labels") {
        this.labels = !this.labels;
        button.setAttribute("aria-pressed", String(this.labels));
        this.draw();
      } else {
        this.rotation = turned(...START);
        this.zoom = 1;
        this.fit();
        this.draw();
      }
    }
    turn(about, up) {
      this.rotation = multiply(turned(about, up), this.rotation);
      this.draw();
    }
    zoomBy(factor) {
      this.zoom = Math.min(8, Math.max(0.4, this.zoom * factor));
      this.draw();
    }

    // Where each point lies on a unit screen: right, up, towards the eye, and how much nearer things are larger.
    project() {
      const p = this.data.points, r = this.rotation, far = 4 * this.reach, placed = [];
      for (let i = 0; i < p.length; i += 3) {
        const [x, y, z] = [0, 3, 6].map((k) => r[k] * p[i] + r[k + 1] * p[i + 1] + r[k + 2] * p[i + 2]);
        const s = far / (far - z);
        placed.push([s * x, s * y, z, s]);
      }
      return placed;
    }

    // Centre and size of what is seen, so that it fills the view.
    fit() {
      const placed = this.project(), range = (k) => {
        const values = placed.map((at) => at[k]);
        return [Math.min(...values), Math.max(...values)];
      };
      const [left, right] = range(0), [low, high] = range(1);
      this.middle = [(left + right) / 2, (low + high) / 2];
      this.extent = [Math.max(right - left, 1), Math.max(high - low, 1)];
    }

    place(width, height) {
      const scale = this.zoom * Math.min((0.84 * width) / this.extent[0], (0.84 * height) / this.extent[1]);
      return this.project().map(([x, y, z, s]) => [
        width / 2 + scale * (x - this.middle[0]), height / 2 - scale * (y - this.middle[1]), z, s,
      ]);
    }

    draw() {
      const canvas = this.canvas, context = canvas.getContext("2d"), style = getComputedStyle(canvas);
      const ratio = Math.max(2, window.devicePixelRatio || 1), width = canvas.clientWidth || 480, height = canvas.clientHeight || 360;
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      context.scale(ratio, ratio);
      const colour = (name) => style.getPropertyValue(name).trim(), placed = this.place(width, height);
      const depth = (z) => 0.45 + (0.55 * (z + this.reach)) / (2 * this.reach); // what lies behind is paler
      const items = [];
      for (let i = 0; i < this.data.bonds.length; i += 3) {
        const [a, b, kind] = this.data.bonds.slice(i, i + 3);
        items.push({ z: (placed[a][2] + placed[b][2]) / 2, a: placed[a], b: placed[b], kind });
      }
      for (let i = 0; i < this.data.dots.length; i += 2) {
        const at = placed[this.data.dots[i]];
        items.push({ z: at[2], a: at, kind: this.data.dots[i + 1] });
      }
      items.sort((one, other) => one.z - other.z);
      for (const { z, a, b, kind } of items) {
        const look = KINDS[kind], size = a[3] * Math.sqrt(this.zoom);
        context.globalAlpha = Math.min(1, depth(z));
        context.strokeStyle = context.fillStyle = colour(look.colour);
        context.lineWidth = look.width * size;
        context.setLineDash(b ? look.dash || [] : []);
        context.lineCap = look.dash ? "butt" : "round"; // round ends would close the gaps
        context.beginPath();
        if (b) {
          context.moveTo(a[0], a[1]);
          context.lineTo(b[0], b[1]);
          context.stroke();
        } else {
          context.arc(a[0], a[1], (kind === PROBE ? 3 : kind === CONTEXT ? 4.5 : 2.6) * size, 0, 2 * Math.PI);
          if (kind === LIGAND) context.fill();
          else context.stroke();
        }
      }
      this.write(context, placed, colour);
    }

    write(context, placed, colour) {
      context.globalAlpha = 1;
      context.lineJoin = "round";
      context.lineWidth = 3;
      context.setLineDash([]);
      context.strokeStyle = colour("--soft");
      const taken = [], free = (box) => !taken.some((t) => box[0] < t[2] && t[0] < box[2] && box[1] < t[3] && t[1] < box[3]);
      const names = this.labels ? this.data.labels : [];
      for (const [size, list, name] of [[12, names, "--ink"], [11, this.data.letters, "--good"]]) {
        context.font = `600 ${size}px system-ui, sans-serif`;
        context.fillStyle = colour(name);
        for (const [atom, text] of list) {
          const [px, py] = placed[atom], width = context.measureText(text).width;
          const corners = [[px + 5, py - 5], [px + 5, py + size + 2], [px - width - 5, py - 5]];
          const spot = corners.find(([x, y]) => free([x, y - size, x + width, y + 2]));
          if (!spot) continue;
          taken.push([spot[0], spot[1] - size, spot[0] + width, spot[1] + 2]);
          context.strokeText(text, ...spot);
          context.fillText(text, ...spot);
        }
      }
    }
  }

  const views = [...document.querySelectorAll("figure.pocket")].map((figure) => new View(figure));
  const all = () => views.forEach((view) => view.draw());
  const printed = (yes) => () => {
    document.documentElement.classList.toggle("printing", yes);
    all();
  };
  window.addEventListener("resize", all);
  window.addEventListener("beforeprint", printed(true));
  window.addEventListener("afterprint", printed(false));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
})();
