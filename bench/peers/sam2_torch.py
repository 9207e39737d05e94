"""The parts of SAM 2 in plain PyTorch functions.

Written from the papers (Ryali et al., 2023; Ravi et al., 2024) for timing; weights come by the keys of
the official state dict, so that results can be compared with those of the engine.
"""

import torch
import torch.nn.functional as F

WINDOW_EMBED = 8


def blocks_of(trunk):
    """Sizes of every block: channels in and out, heads, window, whether it halves the map."""
    dim, heads, number = trunk["embedDim"], trunk["numHeads"], 0
    for stage, count in enumerate(trunk["stages"]):
        for i in range(count):
            first = stage > 0 and i == 0
            out = 2 * dim if first else dim
            heads = 2 * heads if first else heads
            window = trunk["windowSpec"][stage - 1 if first else stage]
            window = 0 if number in trunk["globalAttBlocks"] else window
            yield number, out, heads, window, first, i == count - 1
            dim, number = out, number + 1


def pool(x):
    """Halves a map [B, H, W, C]."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def to_windows(x, side):
    """[B, H, W, C] to [B windows, side, side, C], padded with zeros at the ends."""
    batch, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    rows, columns = x.shape[1] // side, x.shape[2] // side
    x = x.view(batch, rows, side, columns, side, channels).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, side, side, channels)


def from_windows(x, side, height, width):
    """Inverse of to_windows."""
    rows, columns = -(-height // side), -(-width // side)
    x = x.view(-1, rows, columns, side, side, x.shape[-1]).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(x.shape[0], rows * side, columns * side, -1)[:, :height, :width]


class Layers:
    """What the parts are made of."""

    eps = 1e-5

    def __init__(self, weights, config, attention):
        self.w, self.config, self.attend = weights, config, attention

    def linear(self, key, x):
        return F.linear(x, self.w[f"{key}.weight"], self.w[f"{key}.bias"])

    def conv(self, key, x, **options):
        return F.conv2d(x, self.w[f"{key}.weight"], self.w[f"{key}.bias"], **options)

    def conv_transpose(self, key, x):
        return F.conv_transpose2d(x, self.w[f"{key}.weight"], self.w[f"{key}.bias"], stride=2)

    def norm(self, key, x):
        return F.layer_norm(x, x.shape[-1:], self.w[f"{key}.weight"], self.w[f"{key}.bias"], self.eps)

    def norm_channels(self, key, x):
        weight, bias = (self.w[f"{key}.{name}"] for name in ("weight", "bias"))
        y = F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, 1e-6)
        return y.permute(0, 3, 1, 2)

    def mlp(self, key, x, depth):
        for i in range(depth):
            x = self.linear(f"{key}.layers.{i}", x)
            x = x.relu() if i < depth - 1 else x
        return x


class Encoder(Layers):
    """Hiera, the feature pyramid, and the narrowing of its fine levels."""

    eps = 1e-6

    def attention(self, key, x, heads, halves):
        batch, height, width, _ = x.shape
        q, k, v = self.linear(f"{key}.qkv", x).view(batch, height, width, 3, -1).unbind(3)
        q = pool(q) if halves else q
        split = lambda t: t.reshape(batch, -1, heads, t.shape[-1] // heads).transpose(1, 2)
        out = self.attend(split(q), split(k), split(v)).transpose(1, 2)
        return self.linear(f"{key}.proj", out.reshape(q.shape))

    def block(self, key, x, out, heads, window, halves):
        normal = self.norm(f"{key}.norm1", x)
        if x.shape[-1] != out:
            x = self.linear(f"{key}.proj", normal)
        x = pool(x) if halves else x
        tiles = to_windows(normal, window) if window else normal
        y = self.attention(f"{key}.attn", tiles, heads, halves)
        if window:
            side = window // 2 if halves else window
            y = from_windows(y, side, x.shape[1], x.shape[2])
        x = x + y
        hidden = F.gelu(self.linear(f"{key}.mlp.layers.0", self.norm(f"{key}.norm2", x)))
        return x + self.linear(f"{key}.mlp.layers.1", hidden)

    def stages(self, images):
        key = "image_encoder.trunk"
        x = self.conv(f"{key}.patch_embed.proj", images, stride=4, padding=3)
        place = F.interpolate(self.w[f"{key}.pos_embed"], size=x.shape[2:], mode="bicubic")
        repeats = (1, 1, x.shape[2] // WINDOW_EMBED, x.shape[3] // WINDOW_EMBED)
        place = place + self.w[f"{key}.pos_embed_window"].tile(repeats)
        x = (x + place).permute(0, 2, 3, 1)
        for number, out, heads, window, halves, last in blocks_of(self.config["trunk"]):
            x = self.block(f"{key}.blocks.{number}", x, out, heads, window, halves)
            if last:
                yield x.permute(0, 3, 1, 2)

    def __call__(self, images):
        stages = list(self.stages(images))
        levels = [None] * len(stages)
        for i in reversed(range(len(stages))):
            levels[i] = self.conv(f"image_encoder.neck.convs.{len(stages) - 1 - i}.conv", stages[i])
            if i in self.config["fpnTopDownLevels"] and i + 1 < len(stages):
                levels[i] = levels[i] + F.interpolate(levels[i + 1], scale_factor=2.0)
        levels = levels[: len(levels) - self.config["scalp"]]
        for i in range(2):
            levels[i] = self.conv(f"sam_mask_decoder.conv_s{i}", levels[i])
        return levels


def rotary(dim, side, theta, device):
    """Cosines and sines of a side x side grid, [side^2, dim / 2]."""
    quarter = dim // 4
    frequencies = theta ** (-4 * torch.arange(quarter, dtype=torch.float64) / dim)
    place = torch.arange(side, dtype=torch.float64)
    x = place.repeat(side)[:, None] * frequencies
    y = place.repeat_interleave(side)[:, None] * frequencies
    angles = torch.cat([x, y], 1)
    return angles.cos().float().to(device), angles.sin().float().to(device)


def rotate(x, cos, sin):
    """Turns pairs of channels of [..., N, dim]; the tables repeat along N."""
    repeats = x.shape[-2] // cos.shape[0]
    cos, sin = cos.repeat(repeats, 1), sin.repeat(repeats, 1)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


class MemoryAttention(Layers):
    """Layers of self-attention, attention to memories, and an MLP."""

    def attention(self, key, query, keys, values, tables):
        q, k, v = (
            self.linear(f"{key}.{name}_proj", x)[:, None]
            for name, x in (("q", query), ("k", keys), ("v", values))
        )
        out = self.attend(rotate(q, *tables), rotate(k, *tables), v)
        return self.linear(f"{key}.out_proj", out[:, 0])

    def __call__(self, features, positions, memory, memory_positions):
        config = self.config["memoryAttention"]
        side = round(features.shape[1] ** 0.5)
        tables = rotary(features.shape[2], side, config["ropeTheta"], features.device)
        x = features + 0.1 * positions
        for i in range(config["numLayers"]):
            key = f"memory_attention.layers.{i}"
            y = self.norm(f"{key}.norm1", x)
            x = x + self.attention(f"{key}.self_attn", y, y, y, tables)
            y = self.norm(f"{key}.norm2", x)
            keys = memory + memory_positions
            x = x + self.attention(f"{key}.cross_attn_image", y, keys, memory, tables)
            hidden = self.linear(f"{key}.linear1", self.norm(f"{key}.norm3", x)).relu()
            x = x + self.linear(f"{key}.linear2", hidden)
        return [self.norm("memory_attention.norm", x)]


class MemoryEncoder(Layers):
    """A mask brought to the grid of the features, added to them, and mixed by ConvNeXt blocks."""

    def __call__(self, features, masks):
        config, key = self.config, "memory_encoder"
        x = masks.sigmoid() * config["sigmoidScaleForMemEnc"] + config["sigmoidBiasForMemEnc"]
        for i in (0, 3, 6, 9):
            layer = f"{key}.mask_downsampler.encoder"
            x = self.conv(f"{layer}.{i}", x, stride=2, padding=1)
            x = F.gelu(self.norm_channels(f"{layer}.{i + 1}", x))
        x = self.conv(f"{key}.mask_downsampler.encoder.12", x)
        x = x + self.conv(f"{key}.pix_feat_proj", features)
        for i in range(config["fuserLayers"]):
            layer = f"{key}.fuser.layers.{i}"
            y = self.conv(f"{layer}.dwconv", x, padding=3, groups=x.shape[1])
            y = self.norm_channels(f"{layer}.norm", y).permute(0, 2, 3, 1)
            y = self.linear(f"{layer}.pwconv2", F.gelu(self.linear(f"{layer}.pwconv1", y)))
            x = x + (y * self.w[f"{layer}.gamma"]).permute(0, 3, 1, 2)
        return [self.conv(f"{key}.out_proj", x)]


class MaskDecoder(Layers):
    """Tokens and image that attend to each other, then masks, overlaps and object scores."""

    def attention(self, key, q, k, v):
        heads = self.config["maskDecoder"]["transformerHeads"]
        q, k, v = (
            self.linear(f"{key}.{name}_proj", x).unflatten(-1, (heads, -1)).transpose(1, 2)
            for name, x in (("q", q), ("k", k), ("v", v))
        )
        out = self.attend(q, k, v).transpose(1, 2).flatten(2)
        return self.linear(f"{key}.out_proj", out)

    def block(self, key, first, q, keys, tokens, positions):
        placed = q if first else q + tokens
        seen = self.attention(f"{key}.self_attn", placed, placed, q)
        q = self.norm(f"{key}.norm1", seen if first else q + seen)
        k = keys + positions
        q = q + self.attention(f"{key}.cross_attn_token_to_image", q + tokens, k, keys)
        q = self.norm(f"{key}.norm2", q)
        q = self.norm(f"{key}.norm3", q + self.mlp(f"{key}.mlp", q, 2))
        told = self.attention(f"{key}.cross_attn_image_to_token", k, q + tokens, q)
        return q, self.norm(f"{key}.norm4", keys + told)

    def transformer(self, image, positions, tokens):
        key = "sam_mask_decoder.transformer"
        q, keys = tokens, image
        for i in range(self.config["maskDecoder"]["transformerDepth"]):
            q, keys = self.block(f"{key}.layers.{i}", i == 0, q, keys, tokens, positions)
        seen = self.attention(
            f"{key}.final_attn_token_to_image", q + tokens, keys + positions, keys
        )
        return self.norm(f"{key}.norm_final_attn", q + seen), keys

    def __call__(self, embedding, positions, prompts, fine, middle):
        config, key = self.config["maskDecoder"], "sam_mask_decoder"
        names = ("obj_score_token", "iou_token", "mask_tokens")
        own = torch.cat([self.w[f"{key}.{name}.weight"] for name in names])
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts], 1)
        flat = [x.flatten(2).transpose(1, 2) for x in (embedding, positions)]
        queries, keys = self.transformer(*flat, tokens)
        x = keys.transpose(1, 2).reshape(embedding.shape)
        x = self.conv_transpose(f"{key}.output_upscaling.0", x) + middle
        x = F.gelu(self.norm_channels(f"{key}.output_upscaling.1", x))
        x = F.gelu(self.conv_transpose(f"{key}.output_upscaling.3", x) + fine)
        count = config["numMultimaskOutputs"] + 1
        filters = torch.stack(
            [
                self.mlp(f"{key}.output_hypernetworks_mlps.{i}", queries[:, 2 + i], 3)
                for i in range(count)
            ],
            1,
        )
        masks = (filters @ x.flatten(2)).unflatten(-1, x.shape[2:])
        head = f"{key}.iou_prediction_head"
        ious = self.mlp(head, queries[:, 1], config["iouHeadDepth"])
        ious = ious.sigmoid() if config["iouPredictionUseSigmoid"] else ious
        return [masks, ious, self.mlp(f"{key}.pred_obj_score_head", queries[:, 0], 3)]


PARTS = {
    "encoder": Encoder,
    "mask decoder": MaskDecoder,
    "memory attention": MemoryAttention,
    "memory encoder": MemoryEncoder,
}
