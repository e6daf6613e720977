// The page that draws one board; `draw.mjs` calls `window.drawBoard` in it.
import { createTheme, FieldType, getFieldDisplayName, getFieldSeriesColor } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { createRoot } from 'react-dom/client';
import { Board } from './board.jsx';
import { registerTransformers, shown } from './panel_data.js';
import { answers } from './prometheus.js';

const written = new WeakMap();

/**
 * @param board the dashboard's JSON
 * @param moment see `answers`
 * @param mode dark or light
 * @returns of each panel {title, type, asked, text: words on it, axis: words in its canvas, colours: of its series by name, problems}
 */
window.drawBoard = async (board, moment, mode) => {
  await initPluginTranslations('boards');
  registerTransformers();
  listenToCanvases();
  const theme = createTheme({ colors: { mode } });
  const drawn = await Promise.all(board.panels.map((panel) => prepared(panel, moment, theme)));
  createRoot(document.getElementById('board')).render(<Board {...{ board, drawn, moment, theme }} />);
  await settled();
  return drawn.filter(({ panel }) => panel.type !== 'row').map((each) => reported(each, theme));
};

async function prepared(panel, moment, theme) {
  try {
    const { frames, asked } = await answers(panel, { ...moment, width: (moment.width * panel.gridPos.w) / 24 });
    return { panel, asked, frames: await shown(panel, frames, theme), problems: [] };
  } catch (error) {
    return { panel, asked: [], frames: [], problems: [String(error)] };
  }
}

function reported({ panel, asked, frames, problems }, theme) {
  const element = document.querySelector(`[data-panel="${panel.id}"]`);
  const axis = [...element.querySelectorAll('canvas')].flatMap((canvas) => [...(written.get(canvas) ?? [])]);
  const numbers = frames.flatMap((frame) => frame.fields.filter((field) => field.type === FieldType.number).map((field) => [frame, field]));
  const colours = numbers.map(([frame, field]) => [getFieldDisplayName(field, frame, frames), getFieldSeriesColor(field, theme).color]);
  return { title: panel.title, type: panel.type, asked, axis, colours: Object.fromEntries(colours), problems, text: element.innerText.split('\n').filter(Boolean) };
}

/** The axes are pixels of a canvas: what is written there is kept, so that a test can read it. */
function listenToCanvases() {
  const { fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
    if (!written.has(this.canvas)) written.set(this.canvas, new Set());
    written.get(this.canvas).add(text);
    return fillText.call(this, text, ...place);
  };
}

/** Nothing changes any more: the same page in ten frames one after the other. */
async function settled() {
  await document.fonts.ready;
  let [before, same] = ['', 0];
  while (same < 10) {
    await new Promise(requestAnimationFrame);
    const now = document.getElementById('board').innerHTML;
    same = now === before ? same + 1 : 0;
    before = now;
  }
}
