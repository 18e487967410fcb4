"""Writes nlg.json: what SWIFT 1.5.3's compute_nlg_metrics gives for pairs of texts, for engine/src/train/nlg.rs.

usage: nlg.py > nlg.json                        (pip install jieba==0.42.1 rouge==1.0.1 nltk==3.8.1)
       nlg.py validation.jsonl > nlg_reviews.json    scores alone: of each review against the next one

Its calls to jieba, rouge and nltk in its order, on texts that need no tokenizer of a model.
"""
import json
import sys

import jieba
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge import Rouge

EOS = "<|endoftext|>"

PAIRS = [
    ("positive", "positive"), ("negative", "positive"), ("", "positive"), (".", "negative"), ("positive positive", "positive"),
    ("positiv", "positive"), ("not negative", "negative"),
    ("这家酒店的早餐很好吃,房间也很干净", "酒店房间干净,早餐也不错"),
    ("今天天气真好,我们去公园散步吧。", "今天天气不错,我们去公园走走吧。"),
    ("物流很快,包装完好,客服态度也很热情!", "客服态度热情,物流快,包装完好!"),
    ("手机用了两天就坏了,退货还要自己出运费", "用了两天手机就坏了。退货要自己付运费。"),
    ("他来到了网易杭研大厦", "她来到了网易杭研大厦"),
    ("小明硕士毕业于中国科学院计算所,后在日本京都大学深造", "小明毕业于中国科学院,后去了日本京都大学"),
    ("The room was clean. Breakfast was good.", "Breakfast was good. The room was not clean."),
    ("The cat sat on the mat", "The cat is sitting on the mat"),
    ("3.14 is pi. 2.72 is e.", "pi is 3.14. e is 2.72."),
    ("a b c d e f g", "g f e d c b a"), ("a b a b a b", "b a b a b a"), ("x", "y"), ("x", ""), ("...", "good"), ("good", "..."),
    ("  spaces   and\ttabs\nlines  ", "spaces and tabs and lines"),
    ("iPhone15手机5G网络很快,电池3000mAh", "iPhone手机网络快,电池5000mAh"),
    ("好好好好好", "好好"), ("好", "好"), ("好的", "好"), ("商品质量很差😡不会再买了", "质量很差😡再也不买了"),
    ("韓國旅遊很開心,東京也很好玩", "韓國很開心,東京好玩"), ("質量不錯,值得購買", "质量不错,值得购买"),
    ("一二三四五六七八九十", "十九八七六五四三二一"), ("价格便宜.质量好.", "质量好.价格便宜."), (". a .", "a . b"), (" ", "a"),
    ("李小福是创新办主任也是云计算方面的专家", "李小福是云计算专家"), ("工信处女干事每月经过下属科室都要亲口交代", "女干事每月经过科室"),
    ("我喜欢学习,不喜欢学习。", "我不喜欢学习,喜欢玩。"), ("退款!退款!退款!", "请退款"), ("https://example.com/a?b=1&c=2", "example.com"),
    ("荣耀平板T1-823L很好用", "平板T1_823L-v2.0.1"), ("a-b--c_d..e", "a b"), ("涨了3.5%,跌了.5-1.25%", "涨3.5%跌0.5%"), ("1.2.3.4", "v1.2"),
    ("100%好评+推荐", "好评100%"), ("C++和c#哪个好", "C++好"), ("AT&T B超 T恤", "T恤"), ("２０２４年", "2024年"),
]


def score(prediction, label):
    hypothesis, reference = list(jieba.cut(prediction)), list(jieba.cut(label))
    if len(hypothesis) == 0 or "".join(hypothesis) == ".":
        hypothesis = [EOS]
    try:
        result = Rouge().get_scores(" ".join(hypothesis), " ".join(reference))[0]
        scores = {k: round(v["f"] * 100, 4) for k, v in result.items()}
        bleu = sentence_bleu([list(label)], list(prediction), smoothing_function=SmoothingFunction().method3)
        scores["bleu-4"] = round(bleu * 100, 4)
        return scores
    except Exception:
        return None


def main():
    if len(sys.argv) > 1:
        texts = [json.loads(line)["sentence"] for line in open(sys.argv[1], encoding="utf-8")]
        keys = ["rouge-1", "rouge-2", "rouge-l", "bleu-4"]
        print(json.dumps([[score(a, b)[key] for key in keys] for a, b in zip(texts, texts[1:])]))
        return
    print(json.dumps([
        {"prediction": p, "label": l, "words": list(jieba.cut(p)), "scores": score(p, l)} for p, l in PAIRS
    ], ensure_ascii=False))


main()
