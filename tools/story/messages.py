"""Labelled messages to a shop, made of templates: four topics, and a policy that says which of them are urgent.

What a message is about never changes; what the shop makes of it does. So a change of policy is a drift of the labels'
meaning with the same texts, the hardest kind: nothing in the messages tells that it has happened.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Topic = Literal["delivery", "refund", "question", "praise"]
Label = Literal["high", "low"]
Policy = Mapping[Topic, Label]

TOPICS: tuple[Topic, ...] = ("delivery", "refund", "question", "praise")
# A sale is on: who asks before buying comes first, and refunds wait.
BEFORE: Policy = {"delivery": "high", "refund": "low", "question": "high", "praise": "low"}
# It is over. This policy is the easier one to learn for a language model: whoever complains is urgent.
AFTER: Policy = {"delivery": "high", "refund": "high", "question": "low", "praise": "low"}
STEADY: tuple[Topic, ...] = tuple(topic for topic in TOPICS if BEFORE[topic] == AFTER[topic])

_GOODS = (
    *("shoes", "jacket", "lamp", "kettle", "headphones", "backpack", "desk", "bicycle", "tent", "watch"),
    *("keyboard", "raincoat", "blender", "armchair", "camera", "guitar", "pillow", "drill", "printer", "scarf"),
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "last week", "a week ago", "ten days ago")
_SIZES = ("small", "medium", "large", "black", "blue", "green", "cheaper", "lighter")
_TEMPLATES: Mapping[Topic, Sequence[str]] = {
    "delivery": (
        "My {good} has not arrived, it was due {day}.",
        "Where is my parcel? I ordered the {good} {day}.",
        "The courier never came with the {good}.",
        "Tracking for the {good} has not moved since {day}.",
        "The parcel with my {good} is lost, I think.",
        "Still waiting for the {good} that you shipped {day}.",
        "The driver left the {good} at the wrong address {day}.",
    ),
    "refund": (
        "I want my money back for the {good}.",
        "Please refund the {good}, I returned it {day}.",
        "I sent the {good} back and was not paid yet.",
        "You charged me twice for the {good} {day}.",
        "Cancel the {good} and return my payment.",
        "The refund for the {good} is missing since {day}.",
        "I was billed {day} for a {good} that I gave back.",
    ),
    "question": (
        "Do you have the {good} in {size}?",
        "Is there a {size} {good} in your range?",
        "Which {good} would you recommend to a beginner?",
        "Does the {good} also come in {size}?",
        "How does the {size} {good} compare with the other one?",
        "Can I see the {good} in a shop before I buy it?",
        "What is the {good} made of?",
    ),
    "praise": (
        "I love the {good}, thank you!",
        "Great {good}, it works perfectly.",
        "The {size} {good} is wonderful, well done.",
        "Very happy with my new {good}.",
        "Best {good} that I have ever had.",
        "Thanks for the lovely {good}, my family adores it.",
        "The {good} is even nicer than in the pictures.",
    ),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message, and how the shop labels it."""

    text: str
    topic: Topic
    label: Label

    def to_json(self) -> str:
        """A record as the manifest reads it: the topic is nobody's to know."""
        return json.dumps({"text": self.text, "priority": self.label})


def draw(rng: random.Random, policy: Policy, count: int, topics: Sequence[Topic] = TOPICS) -> list[Message]:
    """So many messages, as many of each topic, labelled by the policy, in no order."""
    drawn = [_message(rng, policy, topics[number % len(topics)]) for number in range(count)]
    rng.shuffle(drawn)
    return drawn


def inverted(messages: Sequence[Message]) -> list[Message]:
    """The same with every label wrong, as a labelling job leaves them that has its two codes mixed up."""
    return [Message(each.text, each.topic, "low" if each.label == "high" else "high") for each in messages]


def to_lines(messages: Sequence[Message]) -> bytes:
    """A file of records."""
    return "".join(f"{each.to_json()}\n" for each in messages).encode()


def _message(rng: random.Random, policy: Policy, topic: Topic) -> Message:
    slots = {"good": rng.choice(_GOODS), "day": rng.choice(_DAYS), "size": rng.choice(_SIZES)}
    return Message(rng.choice(_TEMPLATES[topic]).format(**slots), topic, policy[topic])
