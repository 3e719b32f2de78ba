"""Padding to one size, and sampling by size."""

from __future__ import annotations

import collections
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from maskconv_ext.data import BucketBatchSampler, pad_collate, padded_fraction

SIZES = [(4, 6), (5, 3), (1, 1)]


def samples(sizes=SIZES, stride=1):
    rng = torch.Generator().manual_seed(2)
    return [
        {
            "image": torch.randn(3, h, w, generator=rng),
            "label": torch.randint(0, 9, (-(-h // stride), -(-w // stride)), generator=rng),
            "weight": float(h),
            "box": torch.tensor([h, w]),
            "name": f"{h}x{w}",
        }
        for h, w in sizes
    ]


def start_of(size, padded, align):
    return [(large - n) // 2 if align == "center" else 0 for n, large in zip(size, padded)]


@pytest.mark.parametrize("align", ["start", "center"])
@pytest.mark.parametrize(("multiple", "padded"), [(1, (5, 6)), (4, (8, 8)), ((5, 7), (5, 7))])
def test_dicts(multiple, padded, align):
    batch = pad_collate(fill={"label": -100, "image": 0.5}, size_multiple=multiple, align=align)(samples())
    assert list(batch) == ["mask", "image", "label", "weight", "box", "name"]
    assert batch["image"].shape == (3, 3, *padded) and batch["label"].shape == (3, *padded)
    assert batch["mask"].shape == (3, 1, *padded) and batch["mask"].dtype == torch.bool
    seen = torch.zeros(3, *padded, dtype=torch.bool)
    for n, sample in enumerate(samples()):
        size = SIZES[n]
        top, left = start_of(size, padded, align)
        inside = (slice(top, top + size[0]), slice(left, left + size[1]))
        seen[(n, *inside)] = True
        assert torch.equal(batch["image"][n][(slice(None), *inside)], sample["image"])
        assert torch.equal(batch["label"][n][inside], sample["label"])
    assert torch.equal(batch["mask"][:, 0], seen)
    assert (batch["label"][~seen] == -100).all() and (batch["image"].movedim(1, -1)[~seen] == 0.5).all()
    assert batch["weight"].tolist() == [4.0, 5.0, 1.0] and batch["weight"].dtype == torch.float64
    assert torch.equal(batch["box"], torch.tensor(SIZES)) and batch["name"] == ["4x6", "5x3", "1x1"]


def test_a_mask_a_field():
    batch = pad_collate(masks="per_field", fill={"label": -1}, size_multiple={"image": 4, "label": 2})(
        samples(stride=2)
    )
    assert batch["image"].shape[2:] == (8, 8) and batch["label"].shape[1:] == (4, 4)
    assert batch["image_mask"].sum((1, 2, 3)).tolist() == [24, 15, 1]
    assert batch["label_mask"].sum((1, 2, 3)).tolist() == [6, 6, 1]
    assert torch.equal(batch["label_mask"][:, 0], batch["label"] != -1)
    assert set(batch) == {"image", "label", "weight", "box", "name", "image_mask", "label_mask"}


def test_tuples_tensors_and_arrays():
    pairs = [(np.ones((2, h, w), np.float32)[:, ::-1], h) for h, w in SIZES]
    images, heights, mask = pad_collate()(pairs)
    assert images.dtype == torch.float32 and torch.equal(images[:, :1].bool(), mask) and heights.tolist() == [4, 5, 1]
    images, heights, masks = pad_collate(masks="per_field", fill={0: 2})(pairs)
    assert masks[1] is None and torch.equal(masks[0], images[:, :1] == 1)
    swapped = pad_collate()([np.full((1, n), n, ">f4") for n in (1, 2)])[0]
    assert swapped.tolist() == [[[1.0, 0.0]], [[2.0, 2.0]]]
    sequences = [torch.ones(4, n, dtype=torch.int16) for n in (3, 7)]
    batch, mask = pad_collate(rank=1, size_multiple=4, fill=-1)(sequences)
    assert batch.shape == (2, 4, 8) and mask.shape == (2, 1, 8) and torch.equal(batch[:, :1] == 1, mask)
    volumes = [torch.ones(1, 2, n, 3) for n in (3, 7)]
    assert pad_collate(rank=3)(volumes)[1].sum((1, 2, 3, 4)).tolist() == [18, 42]
    assert pad_collate()([1.0, 2.0])[1] is None


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_a_mask_of_the_samples_own_becomes_the_batch_s(dtype):
    own = [{"image": torch.ones(3, h, w), "mask": (torch.rand(1, h, w) < 0.5).to(dtype)} for h, w in SIZES]
    batch = pad_collate(fill=7)(own)
    assert batch["mask"].dtype == dtype and batch["mask"].shape == (3, 1, 5, 6)
    for n, (h, w) in enumerate(SIZES):
        assert torch.equal(batch["mask"][n, :, :h, :w], own[n]["mask"])
        assert batch["mask"][n].sum() == own[n]["mask"].sum(), "the padding is not valid"


class Pictures(Dataset):
    def __init__(self, count=23):
        rng = np.random.default_rng(0)
        self.sizes = [tuple(int(n) for n in rng.integers(1, 30, 2)) for _ in range(count)]

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, i):
        return {"image": torch.full((1, *self.sizes[i]), float(i) + 1), "index": i}


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_loader(start):
    pictures = Pictures()
    collate = pad_collate(size_multiple=2)
    assert pickle.loads(pickle.dumps(collate)) == collate
    sampler = BucketBatchSampler(pictures.sizes, 4, seed=5)
    loader = DataLoader(
        pictures, batch_sampler=sampler, num_workers=2, collate_fn=collate, multiprocessing_context=start
    )
    seen = []
    for batch in loader:
        valid = batch["mask"].sum((1, 2, 3)).tolist()
        assert valid == [int(np.prod(pictures.sizes[i])) for i in batch["index"]]
        assert torch.equal(batch["image"] == 0, ~batch["mask"])
        seen += batch["index"].tolist()
    assert sorted(seen) == list(range(23)) and len(loader) == 6


def test_batches_cover_the_data_pad_little_and_differ_between_epochs():
    sizes = Pictures(1000).sizes
    sampler = BucketBatchSampler(sizes, 16, pool_batches=20)
    epochs = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
        assert sorted(i for batch in epochs[-1] for i in batch) == list(range(1000))
        assert len(epochs[-1]) == len(sampler) == 63
        assert sorted(map(len, epochs[-1])) == [8] + [16] * 62
    assert epochs[0] == epochs[2] != epochs[1]
    shuffled = [list(range(k, min(k + 16, 1000))) for k in range(0, 1000, 16)]
    pooled, whole, plain = (
        padded_fraction(sizes, batches)
        for batches in (epochs[0], list(BucketBatchSampler(sizes, 16, shuffle=False)), shuffled)
    )
    assert whole < pooled < 0.45 * plain
    areas = [max(np.prod(sizes[i]) for i in batch) for batch in epochs[0]]
    assert areas != sorted(areas), "the order of the batches is random"


def test_one_axis_without_shuffle_is_sorting():
    lengths = [5, 1, 4, 1, 3]
    batches = list(BucketBatchSampler(lengths, 2, shuffle=False))
    assert [[lengths[i] for i in batch] for batch in batches] == [[1, 1], [3, 4], [5]]
    for sizes in (np.array(lengths), torch.tensor(lengths), torch.tensor(lengths)[:, None], np.array(lengths)[:, None]):
        assert list(BucketBatchSampler(sizes, 2, shuffle=False)) == batches
        assert padded_fraction(sizes, [*batches, []]) == padded_fraction(lengths, batches) > 0
    texts = ["abc", "a", "ab"]
    assert list(BucketBatchSampler(texts, 1, len, shuffle=False)) == [[1], [2], [0]]
    assert list(BucketBatchSampler([], 4)) == [] and len(BucketBatchSampler([], 4)) == 0


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("count", [2, 40, 47, 48])
def test_ranks_share_the_batches(count, drop_last):
    sizes = list(range(1, count + 1))
    ranks = [
        list(BucketBatchSampler(sizes, 4, seed=3, drop_last=drop_last, rank=rank, world_size=3)) for rank in range(3)
    ]
    full = count // 12
    assert {len(batches) for batches in ranks} == {full if drop_last else -(-count // 12)}
    assert len(BucketBatchSampler(sizes, 4, drop_last=drop_last, world_size=3)) == len(ranks[0])
    times = collections.Counter(i for batches in ranks for batch in batches for i in batch)
    assert set(times) <= set(range(count))
    if drop_last:
        assert sum(times.values()) == full * 12 and max(times.values(), default=1) == 1
    else:
        assert len(times) == count and sum(times.values()) == -(-count // 3) * 3 and max(times.values()) <= 2
    for step in zip(*ranks):
        assert len({len(batch) for batch in step}) == 1
        spread = [sizes[i] for batch in step for i in batch]
        # 12 of the pool's neighbours in size, except where items are repeated or dropped
        assert max(spread) - min(spread) <= 12 + (count if drop_last or count % 3 else 0)


def test_dropping_the_last_batch_drops_no_size_in_particular():
    sampler = BucketBatchSampler(list(range(10)), 4, drop_last=True)
    dropped = set()
    for epoch in range(30):
        sampler.set_epoch(epoch)
        dropped |= set(range(10)) - {i for batch in sampler for i in batch}
    assert dropped == set(range(10))


def with_change(sample, **changes):
    return [samples()[0], {**samples()[1], **changes}]


PLACE = "pad_collate: field"
STACKS = "got {}, needs what stacks (only tensors and arrays that are fields of a sample themselves are padded): "
ERRORS = [
    (lambda: pad_collate(rank=0), "pad_collate: rank: got 0, needs an int >= 1"),
    (lambda: pad_collate()([]), "pad_collate: samples: got none, needs at least one"),
    (lambda: pad_collate(size_multiple=2.5),
     "pad_collate: size_multiple: got 2.5, needs an int >= 1 or a sequence of 2 of them"),
    (lambda: pad_collate(fill={"image": None}), "pad_collate: fill: got None, needs a number"),
    (lambda: pad_collate(fill=1e6)([torch.ones(1, 2, 2).half()]),
     f"{PLACE} 0 of sample 0: got torch.float16, needs a dtype that holds the fill 1000000.0"),
    (lambda: pad_collate()(with_change(1, name=torch.ones(3))),
     f"{PLACE} 'name' of sample 1: got Tensor, needs str, as sample 0"),
    (lambda: pad_collate()([{"name": None}]),
     f"{PLACE} 'name': {STACKS.format('NoneType')}default_collate: batch must contain tensors, numpy arrays, numbers, "
     "dicts or lists; found <class 'NoneType'>"),
    (lambda: pad_collate()([{"of": {"box": torch.ones(1)}}, {"of": {"box": torch.ones(2)}}]),
     f"{PLACE} 'of': {STACKS.format('dict')}stack expects each tensor to be equal size, but got [1] at entry 0 and [2] "
     "at entry 1"),
    (lambda: pad_collate()([{"names": np.array(["a"])}]),
     f"{PLACE} 'names' of sample 0: got an array of <U1, needs numbers"),
    (lambda: pad_collate()([{"image": torch.ones(1, 2, 2), "mask": 1.0}]),
     f"{PLACE} 'mask' of sample 0: got float, needs a Tensor of 3 dimensions (M, *S), as a mask has; or another "
     "mask_key"),
    (lambda: pad_collate(masks="per_field")([{"a": torch.ones(1, 2, 2), "a_mask": 1}]),
     "pad_collate: mask_key: got 'mask', but samples have a field 'a_mask'"),
    (lambda: padded_fraction([1.5], [[0]]), "padded_fraction: sizes: got size 1.5 of item 0, needs ints >= 0"),
    (lambda: pad_collate(align="top"), "pad_collate: align: got 'top', needs 'start' or 'center'"),
    (lambda: pad_collate(masks="all"), "pad_collate: masks: got 'all', needs 'shared' or 'per_field'"),
    (lambda: pad_collate(size_multiple=(2, 0)),
     "pad_collate: size_multiple: got (2, 0), needs an int >= 1 or a sequence of 2 of them"),
    (lambda: pad_collate(size_multiple={"image": 0}),
     "pad_collate: size_multiple: got 0, needs an int >= 1 or a sequence of 2 of them"),
    (lambda: pad_collate(fill={"labels": -1})(samples()),
     "pad_collate: got options for field 'labels', needs one of ['image', 'label', 'weight', 'box', 'name']"),
    (lambda: pad_collate()(with_change(1, image=torch.ones(1, 5, 3))),
     f"{PLACE} 'image' of sample 1: got shape (1, 5, 3), needs (3, *, *), as sample 0"),
    (lambda: pad_collate()(with_change(1, image=torch.ones(5, 3))),
     f"{PLACE} 'image' of sample 1: got shape (5, 3), needs (3, *, *), as sample 0"),
    (lambda: pad_collate()(with_change(1, image=torch.ones(3, 5, 3).double())),
     f"{PLACE} 'image' of sample 1: got torch.float64, needs torch.float32, as sample 0"),
    (lambda: pad_collate()(with_change(1, image=None)),
     f"{PLACE} 'image' of sample 1: got NoneType, needs a Tensor, as sample 0"),
    (lambda: pad_collate()(with_change(1, label=torch.ones(5, 2).long())),
     f"{PLACE} 'label' of sample 1: got size (5, 2), needs (5, 3), that of field 'image'; or masks='per_field'"),
    (lambda: pad_collate(size_multiple={"image": 2})(samples()),
     "pad_collate: size_multiple: got {'image': 2}, needs equal ones for fields 'image' and 'label'; or "
     "masks='per_field'"),
    (lambda: pad_collate(fill=-100)([torch.ones(1, 2, 2).byte()]),
     f"{PLACE} 0 of sample 0: got torch.uint8, needs a dtype that holds the fill -100"),
    (lambda: pad_collate()(with_change(1, box=torch.ones(3))),
     f"{PLACE} 'box' of sample 1: got shape (3,), needs (2,), as sample 0"),
    (lambda: pad_collate()(with_change(1, box=[1, 2])),
     f"{PLACE} 'box' of sample 1: got list, needs Tensor, as sample 0"),
    (lambda: pad_collate()([{"a": 1, "b": 2}, {"a": 1}]),
     "pad_collate: sample 1: got fields ['a'], needs fields ['a', 'b'], as sample 0"),
    (lambda: pad_collate()([{"a": 1}, {"a": 1, "b": 2}]),
     "pad_collate: sample 1: got fields ['a', 'b'], needs fields ['a'], as sample 0"),
    (lambda: pad_collate()([(1, 2), (1,)]), "pad_collate: sample 1: got 1 fields, needs 2 fields, as sample 0"),
    (lambda: pad_collate()([(1, 2), 3]), "pad_collate: sample 1: got int, needs 2 fields, as sample 0"),
    (lambda: pad_collate()([{"mask": torch.ones(2, 2)}]),
     f"{PLACE} 'mask' of sample 0: got shape (2, 2), needs a Tensor of 3 dimensions (M, *S), as a mask has; or another "
     "mask_key"),
    (lambda: BucketBatchSampler([1, 2], 0), "BucketBatchSampler: batch_size: got 0, needs an int >= 1"),
    (lambda: BucketBatchSampler([1, 2], 2, rank=2, world_size=2),
     "BucketBatchSampler: rank: got 2, needs an int from 0 to 1"),
    (lambda: BucketBatchSampler([1, "a"], 2), "BucketBatchSampler: items: got size 'a' of item 1, needs ints >= 0"),
    (lambda: BucketBatchSampler([1, (2, 3)], 2),
     "BucketBatchSampler: items: got sizes of different numbers of axes, needs one number"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[row[1][:60] for row in ERRORS])
def test_wrong_call(call, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value) == message
