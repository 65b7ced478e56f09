"""The random numbers that spade draws for an input, drawn again: other toolkits are given them in place of their own."""
import numpy as np

LIME_STREAM, KERNEL_SHAP_STREAM, GRADIENT_SHAP_STREAM = 2, 3, 5  # the last word of their counters; of noise it is 0
WORD = np.uint64(0xFFFFFFFF)


def philox(key, counters):
    """Philox4x32-10 (Salmon et al. 2011): counters [n, 4] -> [n, 4]."""
    c = [np.asarray(column, np.uint64) for column in np.asarray(counters).T]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [b >> np.uint64(32) ^ c[1] ^ np.uint64(k[0]), b & WORD, a >> np.uint64(32) ^ c[3] ^ np.uint64(k[1]), a & WORD]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c, 1)


def uniform(high, low):
    return ((high << np.uint64(32) | low) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def input_key(x, seed=0):
    """Of the numbers of an input: FNV-1a/64 of its bytes with a final avalanche (base/random.c)."""
    h = 0xCBF29CE484222325 ^ seed
    for byte in np.ascontiguousarray(x, np.float32).tobytes():
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    h ^= h >> 33
    h = h * 0xFF51AFD7ED558CCD & 0xFFFFFFFFFFFFFFFF
    return h ^ h >> 33


def normal(key, samples, shape):
    """Standard normal numbers [samples, *shape]."""
    pairs = (np.prod(shape) + 1) // 2
    counters = np.zeros([samples, pairs, 4], np.uint64)
    counters[..., 0], counters[..., 1] = np.arange(samples)[:, None], np.arange(pairs)
    random = philox(key, counters.reshape(-1, 4)).reshape(samples, pairs, 4)
    radius = np.sqrt(-2 * np.log(1 - uniform(random[..., 0], random[..., 1])))
    angle = 2 * np.pi * uniform(random[..., 2], random[..., 3])
    numbers = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).reshape(samples, -1)
    return numbers[:, :np.prod(shape)].reshape(samples, *shape)


def deviation(x, sigma):
    return sigma * (float(x.max()) - float(x.min()))


def shares(key, samples):
    """GradientSHAP: how far along its line each sample lies."""
    counters = [[i, 0, 0, GRADIENT_SHAP_STREAM] for i in range(samples)]
    random = philox(key, counters)
    return uniform(random[:, 0], random[:, 1])


def lime_coalitions(key, samples, segments):
    blocks = (segments + 127) // 128
    counters = [[i, b, 0, LIME_STREAM] for i in range(samples) for b in range(blocks)]
    words = philox(key, counters).reshape(samples, -1)
    bits = words[:, :, None] >> np.arange(32, dtype=np.uint64) & np.uint64(1)
    return bits.reshape(samples, -1)[:, :segments].astype(np.int64)


def draw_coalition(numbers, segments):
    """Its size, then its superpixels, one number each."""
    sizes = np.arange(1, segments)
    weights = 1 / (sizes * (segments - sizes))
    left = numbers[0] * weights.sum() - np.cumsum(weights)
    size = int(sizes[np.flatnonzero(left[:-1] < 0)[0]]) if (left[:-1] < 0).any() else segments - 1
    keep = np.zeros(segments, np.int64)
    for j in range(segments):
        keep[j] = numbers[1 + j] * (segments - j) < size
        size -= keep[j]
    return keep


def kernel_shap_coalitions(key, samples, segments):
    """Each second one is the complement of the one before."""
    coalitions = []
    for i in range(0, samples, 2):
        random = philox(key, [[i, n, 0, KERNEL_SHAP_STREAM] for n in range(segments + 1)])
        keep = draw_coalition(uniform(random[:, 0], random[:, 1]), segments)
        coalitions += [keep, 1 - keep]
    return np.array(coalitions[:samples])
