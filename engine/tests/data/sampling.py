"""Writes sampling.json: the distributions that transformers draws tokens from, for engine/src/infer/sampling.rs.

usage: sampling.py > sampling.json    (made with transformers 4.36.2 and torch 2.11.0, the reference run's transformers)

The processors are put together as `GenerationMixin._get_logits_processor` and `_get_logits_warper` do it.
"""
import json
import random

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

VOCAB = 48


def processors(penalty, temperature, top_k, top_p, do_sample):
    chain = LogitsProcessorList()
    if penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(penalty))
    if do_sample:
        if temperature != 1.0:
            chain.append(TemperatureLogitsWarper(temperature))
        if top_k != 0:
            chain.append(TopKLogitsWarper(top_k=top_k))
        if top_p < 1.0:
            chain.append(TopPLogitsWarper(top_p=top_p))
    return chain


def main():
    dice = random.Random(3)
    cases = []
    for penalty, temperature, top_k, top_p in [
        (1.0, 1.0, 0, 1.0), (1.0, 0.3, 20, 0.7), (1.3, 1.0, 0, 1.0), (1.3, 0.7, 0, 0.9), (0.8, 2.0, 5, 1.0),
        (1.05, 0.3, 20, 0.7), (1.0, 5.0, 0, 0.95), (1.0, 0.05, 0, 0.5), (2.0, 1.5, 1, 0.9), (1.2, 1.0, 100, 0.8),
        (1.0, 1.0, 3, 1.0), (1.5, 0.9, 7, 0.6),
    ]:
        # Quarters in fp32 are exact, and many are equal: ties at the k-th place.
        coarse = len(cases) % 2 == 1
        draw = (lambda: round(dice.gauss(0, 3) * 4) / 4) if coarse else (lambda: dice.gauss(0, 3))
        logits = torch.tensor([[draw() for _ in range(VOCAB)]], dtype=torch.float32)
        seen = [dice.randrange(VOCAB) for _ in range(20)]
        ids = torch.tensor([seen])
        scores = processors(penalty, temperature, top_k, top_p, True)(ids, logits.clone())  # the penalty is taken in place
        greedy = processors(penalty, temperature, top_k, top_p, False)(ids, logits.clone())
        cases.append({
            "repetition_penalty": penalty, "temperature": temperature, "top_k": top_k, "top_p": top_p,
            "logits": logits[0].tolist(), "seen": seen,
            "probabilities": torch.softmax(scores, -1)[0].tolist(),
            "greedy": int(greedy.argmax(-1)[0]),
        })
    print(json.dumps(cases))


main()
