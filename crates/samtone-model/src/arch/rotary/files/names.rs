//! What the files of rotary encoders call their tensors.

use crate::arch::rotary::config::RotaryKin;
use crate::folder::checkpoint::Checkpoint;
use crate::folder::names::Names;

/// What stands around the encoder: parts of whole models, and what is computed rather than learned.
const HEADS: [&str; 9] = [
    "head",
    "decoder",
    "classifier",
    "pooler",
    "cls",
    "lm_head",
    "score",
    "rotary_emb",
    "position_ids",
];

const MODERN_BERT: Names = Names {
    rules: &[
        ("embeddings.tok_embeddings", &["embed_tokens"]),
        ("embeddings.norm", &["embed_norm"]),
        ("layers.{}.attn_norm", &["layers.{}.input_layernorm"]),
        (
            "layers.{}.attn.Wqkv",
            &[
                "layers.{}.self_attn.q_proj",
                "layers.{}.self_attn.k_proj",
                "layers.{}.self_attn.v_proj",
            ],
        ),
        ("layers.{}.attn.Wo", &["layers.{}.self_attn.o_proj"]),
        ("layers.{}.mlp_norm", &["layers.{}.pre_feedforward_layernorm"]),
        ("layers.{}.mlp.Wi", &["layers.{}.mlp.gate_proj", "layers.{}.mlp.up_proj"]),
        ("layers.{}.mlp.Wo", &["layers.{}.mlp.down_proj"]),
        ("final_norm", &["norm"]),
    ],
    words: "embeddings.tok_embeddings.weight",
    left_out: &HEADS,
    adapted: &["Wqkv"],
};

const NOMIC_BERT: Names = Names {
    rules: &[
        ("embeddings.word_embeddings", &["embed_tokens"]),
        ("embeddings.token_type_embeddings", &["embed_types"]),
        ("emb_ln", &["embed_norm"]),
        (
            "encoder.layers.{}.attn.Wqkv",
            &[
                "layers.{}.self_attn.q_proj",
                "layers.{}.self_attn.k_proj",
                "layers.{}.self_attn.v_proj",
            ],
        ),
        ("encoder.layers.{}.attn.out_proj", &["layers.{}.self_attn.o_proj"]),
        ("encoder.layers.{}.norm1", &["layers.{}.post_attention_layernorm"]),
        ("encoder.layers.{}.mlp.fc11", &["layers.{}.mlp.up_proj"]),
        ("encoder.layers.{}.mlp.fc12", &["layers.{}.mlp.gate_proj"]),
        ("encoder.layers.{}.mlp.fc2", &["layers.{}.mlp.down_proj"]),
        ("encoder.layers.{}.norm2", &["layers.{}.post_feedforward_layernorm"]),
    ],
    words: "embeddings.word_embeddings.weight",
    left_out: &HEADS,
    adapted: &["Wqkv"],
};

/// Transformers' own names of NomicBERT and GTE, which it writes no files with, but some do. They are
/// what an adapter calls its modules by.
const TRANSFORMERS: Names = Names {
    rules: &[
        ("embeddings.word_embeddings", &["embed_tokens"]),
        ("embeddings.token_type_embeddings", &["embed_types"]),
        ("embeddings.LayerNorm", &["embed_norm"]),
        ("layers.{}.post_mlp_layernorm", &["layers.{}.post_feedforward_layernorm"]),
    ],
    words: "embeddings.word_embeddings.weight",
    left_out: &HEADS,
    adapted: &["q_proj", "v_proj"],
};

const NEW: Names = Names {
    rules: &[
        ("embeddings.word_embeddings", &["embed_tokens"]),
        ("embeddings.token_type_embeddings", &["embed_types"]),
        ("embeddings.LayerNorm", &["embed_norm"]),
        (
            "encoder.layer.{}.attention.qkv_proj",
            &[
                "layers.{}.self_attn.q_proj",
                "layers.{}.self_attn.k_proj",
                "layers.{}.self_attn.v_proj",
            ],
        ),
        ("encoder.layer.{}.attention.o_proj", &["layers.{}.self_attn.o_proj"]),
        ("encoder.layer.{}.attn_ln", &["layers.{}.post_attention_layernorm"]),
        (
            "encoder.layer.{}.mlp.up_gate_proj",
            &["layers.{}.mlp.up_proj", "layers.{}.mlp.gate_proj"],
        ),
        ("encoder.layer.{}.mlp.down_proj", &["layers.{}.mlp.down_proj"]),
        ("encoder.layer.{}.mlp_ln", &["layers.{}.post_feedforward_layernorm"]),
    ],
    words: "embeddings.word_embeddings.weight",
    left_out: &HEADS,
    adapted: &["qkv_proj"],
};

const LLAMA: Names = Names {
    rules: &[("layers.{}.post_attention_layernorm", &["layers.{}.pre_feedforward_layernorm"])],
    words: "embed_tokens.weight",
    left_out: &HEADS,
    adapted: &["q_proj", "v_proj"],
};

const GEMMA: Names = Names { rules: &[], ..LLAMA };

/// How the files of a kin call its tensors: as is written, and as is also read.
pub(crate) fn names(kin: RotaryKin) -> &'static [&'static Names] {
    match kin {
        RotaryKin::ModernBert => &[&MODERN_BERT],
        RotaryKin::NomicBert => &[&NOMIC_BERT, &TRANSFORMERS],
        RotaryKin::Gte | RotaryKin::New => &[&NEW, &TRANSFORMERS],
        RotaryKin::Gemma3 => &[&GEMMA],
        _ => &[&LLAMA],
    }
}

/// How transformers calls the modules of a kin; of one that it runs by the code beside the weights, as
/// that does.
pub(crate) fn module_names(kin: RotaryKin) -> &'static Names {
    match kin {
        RotaryKin::NomicBert | RotaryKin::Gte => &TRANSFORMERS,
        kin => names(kin)[0],
    }
}

/// The names by which a file calls its tensors.
pub(crate) fn dialect(kin: RotaryKin, checkpoint: &Checkpoint) -> &'static Names {
    let known = names(kin);
    let knows = |names: &&&Names| {
        // The norm of the first layer's feed-forward block, by whatever name: each has another.
        let norm = names.rules.iter().find_map(|(file, ours)| {
            ours[0].ends_with("post_feedforward_layernorm").then(|| file.replace("{}", "0"))
        });
        norm.is_some_and(|norm| checkpoint.names().any(|name| name.contains(&norm)))
    };
    known.iter().find(knows).unwrap_or(&known[0])
}
