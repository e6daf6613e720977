// Draws one board in a headless Chromium: a request as JSON on standard input, the report as JSON on standard output.
// {folder: of the page, chromium: its program, prometheus: its address, board: its JSON, moment, mode, picture: file} -> {panels, problems}
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

// A machine without a way out gets no requests to Google's hosts.
const QUIET = ['--disable-background-networking', '--disable-component-update', '--disable-gpu', '--disable-quic', '--disable-sync', '--no-first-run'];
// No server: what the browser asks of this origin is read from files, or asked of Prometheus in its place.
const ORIGIN = 'http://localhost:1';
const FOLDERS = [
  ['/public/build/', 'node_modules/@grafana/ui/dist/public'],
  ['/public/fonts/inter/', 'node_modules/inter-ui/web'],
  ['/', 'page'],
];

const request = JSON.parse(readFileSync(0));
const browser = await chromium.launch({ args: QUIET, chromiumSandbox: false, executablePath: request.chromium, timeout: 0 });
try {
  const page = await browser.newPage({ timezoneId: 'UTC', viewport: { height: heightOf(request.board), width: request.moment.width } });
  page.setDefaultTimeout(0); // who starts this bounds its time
  const problems = [];
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  page.on('pageerror', (error) => problems.push(String(error)));
  await page.route(`${ORIGIN}/**`, async (route) => route.fulfill(await answer(new URL(route.request().url()))));
  await page.goto(`${ORIGIN}/page.html`);
  const panels = await page.evaluate(({ board, moment, mode }) => window.drawBoard(board, moment, mode), request);
  await page.screenshot({ fullPage: true, path: request.picture });
  process.stdout.write(JSON.stringify({ panels, problems }));
} finally {
  await browser.close();
}

async function answer({ pathname, search }) {
  if (pathname.startsWith('/api/')) {
    const found = await fetch(`${request.prometheus}${pathname}${search}`);
    return { body: await found.text(), contentType: 'application/json' };
  }
  const [prefix, folder] = FOLDERS.find(([prefix]) => pathname.startsWith(prefix));
  return { path: join(request.folder, folder, pathname.slice(prefix.length)) };
}

/** High enough for all of it: what is out of sight is not drawn. */
function heightOf({ panels }) {
  return 100 + 38 * Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
}
