/** What the quickstart prints: numbered steps with their time, and what was shown in each. */

const LINE_CHARACTERS = 110;

export class Story {
  readonly #out: NodeJS.WriteStream;
  readonly #started: number;
  #step = 0;
  #stepStarted: number;

  constructor(out: NodeJS.WriteStream, started: number) {
    this.#out = out;
    this.#started = started;
    this.#stepStarted = started;
  }

  step(title: string): void {
    this.#stepStarted = performance.now();
    this.#out.write(`\n${++this.#step}. ${title}\n`);
  }

  /** A command as it was typed; a long one goes on in the next line. */
  command(line: string): void {
    let shown = "$";
    for (const word of line.split(" ")) {
      if (shown.length + word.length > LINE_CHARACTERS) {
        this.#out.write(`   ${shown} \\\n`);
        shown = "     ";
      }
      shown += ` ${word}`;
    }
    this.#out.write(`   ${shown}\n`);
  }

  line(text: string): void {
    for (const part of text.trimEnd().split("\n")) this.#out.write(`   ${part}\n`);
  }

  /** The step's closing line, with the time it took. */
  done(text: string): void {
    this.line(`${text} (${seconds(this.#stepStarted)})`);
  }

  end(): void {
    this.#out.write(
      `\nDone in ${seconds(this.#started)}. Everything was cleaned up. Next: docs/guides/first-server.md\n`,
    );
  }
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
