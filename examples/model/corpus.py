"""Writes the training text: stories and chats about the lighthouse at Grey Point, drawn from a seeded grammar."""

import random
import re
import sys

from world import ASK_STORY, FACTS, OPENING, STORIES, SYSTEM_LINES, WORLD

END, USER, ASSISTANT, SYSTEM = "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
INNERMOST_CHOICE = re.compile(r"\[([^\[\]]*)\]")


def expand(rng, text, slots=None):
    """Fills {slots} and picks one of each [a|b], innermost first."""
    for name, value in {**WORLD, **(slots or {})}.items():
        text = text.replace("{" + name + "}", value)
    while (match := INNERMOST_CHOICE.search(text)) is not None:
        text = text[: match.start()] + rng.choice(match.group(1).split("|")) + text[match.end() :]
    return text


def capitalize(text):
    return text[:1].upper() + text[1:]


def write_story(rng, topic):
    """A slot keeps its value through a story: the letter that is brought is the letter that is asked for."""
    slots = {name: expand(rng, value) for name, value in WORLD.items()}
    return expand(rng, OPENING) + " ".join(capitalize(expand(rng, step, slots)) for step in STORIES[topic])


def spell_question(rng, question, mark):
    """People leave out marks and capitals; so does a part of the text."""
    style = rng.random()
    if style < 0.08:
        return question[:1].lower() + question[1:]
    return question if style < 0.16 else question + mark


def ask_for_story(rng):
    topic = rng.choice(sorted(STORIES))
    question = expand(rng, rng.choice(ASK_STORY), {"topic": topic})
    mark = "?" if question.split()[0] in ("Can", "Do", "Have", "What") else "."
    return spell_question(rng, question, mark), write_story(rng, topic)


def ask_for_fact(rng):
    questions, answers = rng.choice(FACTS)
    question = expand(rng, rng.choice(questions))
    asks = question.split()[0].strip(",") in (
        "Who",
        "What",
        "Where",
        "Why",
        "How",
        "Can",
        "May",
        "Could",
        "Do",
        "Does",
        "Is",
    )
    return spell_question(rng, question, "?" if asks else "."), capitalize(expand(rng, rng.choice(answers)))


def write_chat(rng):
    head = f"{SYSTEM}{expand(rng, SYSTEM_LINES)}{END}" if rng.random() < 0.15 else ""
    if rng.random() < 0.3:
        turns = [ask_for_story(rng)]
    else:
        turns = [ask_for_fact(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    return head + "".join(f"{USER}{question}{END}{ASSISTANT}{answer}{END}" for question, answer in turns)


def write_corpus(seed=7, documents=6000):
    """Returns the documents in order: about one story for every four chats."""
    rng = random.Random(seed)
    topics = sorted(STORIES)
    return [
        write_story(rng, rng.choice(topics)) + END if rng.random() < 0.2 else write_chat(rng) for _ in range(documents)
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(write_corpus()) + "\n")
