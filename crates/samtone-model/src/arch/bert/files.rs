//! BERT's kin in Hugging Face's files.
//!
//! | kin | `model_type` | tensors left out |
//! |---|---|---|
//! | BERT, MiniLM | `bert` | pooler, pre-training heads |
//! | RoBERTa, XLM-RoBERTa, CamemBERT | `roberta`, `xlm-roberta`, `camembert` | the same |
//! | DistilBERT | `distilbert` | pre-training heads |
//! | MPNet | `mpnet` | pooler, pre-training heads |
//! | ELECTRA | `electra` | discriminator's and generator's heads |
//! | Jina v2 | `bert` with `position_embedding_type` `alibi` | pooler |

use serde_json::{Value, json};

use super::RELATIVE_BUCKETS;
use super::config::{BertConfig, BertKin};
use crate::config::Activation;
use crate::error::ModelError;
use crate::folder::keys::{Keys, activation_name};
use crate::folder::names::Names;

pub(crate) const MODEL_TYPES: [&str; 7] =
    ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "electra"];

/// What stands around BERT's encoder: parts of whole models.
const HEADS: [&str; 12] = [
    "pooler",
    "cls",
    "lm_head",
    "classifier",
    "qa_outputs",
    "vocab_transform",
    "vocab_layer_norm",
    "vocab_projector",
    "pre_classifier",
    "discriminator_predictions",
    "generator_predictions",
    "generator_lm_head",
];

const BERT: Names = Names {
    rules: &[],
    words: "embeddings.word_embeddings.weight",
    left_out: &HEADS,
    adapted: &["query", "value"],
};

const DISTILBERT: Names = Names {
    rules: &[
        ("transformer.layer.{}.attention.q_lin", &["encoder.layer.{}.attention.self.query"]),
        ("transformer.layer.{}.attention.k_lin", &["encoder.layer.{}.attention.self.key"]),
        ("transformer.layer.{}.attention.v_lin", &["encoder.layer.{}.attention.self.value"]),
        ("transformer.layer.{}.attention.out_lin", &["encoder.layer.{}.attention.output.dense"]),
        ("transformer.layer.{}.sa_layer_norm", &["encoder.layer.{}.attention.output.LayerNorm"]),
        ("transformer.layer.{}.ffn.lin1", &["encoder.layer.{}.intermediate.dense"]),
        ("transformer.layer.{}.ffn.lin2", &["encoder.layer.{}.output.dense"]),
        ("transformer.layer.{}.output_layer_norm", &["encoder.layer.{}.output.LayerNorm"]),
    ],
    adapted: &["q_lin", "v_lin"],
    ..BERT
};

const MPNET: Names = Names {
    rules: &[
        ("encoder.layer.{}.attention.attn.q", &["encoder.layer.{}.attention.self.query"]),
        ("encoder.layer.{}.attention.attn.k", &["encoder.layer.{}.attention.self.key"]),
        ("encoder.layer.{}.attention.attn.v", &["encoder.layer.{}.attention.self.value"]),
        ("encoder.layer.{}.attention.attn.o", &["encoder.layer.{}.attention.output.dense"]),
        ("encoder.layer.{}.attention.LayerNorm", &["encoder.layer.{}.attention.output.LayerNorm"]),
    ],
    adapted: &["q", "v"],
    ..BERT
};

const JINA: Names = Names {
    rules: &[
        (
            "encoder.layer.{}.mlp.gated_layers",
            &["encoder.layer.{}.intermediate.dense", "encoder.layer.{}.intermediate.gated"],
        ),
        ("encoder.layer.{}.mlp.wo", &["encoder.layer.{}.output.dense"]),
        ("encoder.layer.{}.mlp.layernorm", &["encoder.layer.{}.output.LayerNorm"]),
    ],
    ..BERT
};

/// How the files of a kin call its tensors.
pub(crate) fn names(kin: BertKin) -> &'static Names {
    match kin {
        BertKin::Distilbert => &DISTILBERT,
        BertKin::Mpnet => &MPNET,
        BertKin::JinaBert => &JINA,
        _ => &BERT,
    }
}

/// The configuration; absent keys have the defaults of transformers' configuration classes.
pub(crate) fn read(keys: &Keys<'_>, model_type: &str) -> Result<BertConfig, ModelError> {
    let kin = match model_type {
        "roberta" => BertKin::Roberta,
        "xlm-roberta" => BertKin::XlmRoberta,
        "camembert" => BertKin::Camembert,
        "distilbert" => BertKin::Distilbert,
        "mpnet" => BertKin::Mpnet,
        "electra" => BertKin::Electra,
        _ if keys.text("position_embedding_type")? == Some("alibi") => BertKin::JinaBert,
        _ => BertKin::Bert,
    };
    for key in ["is_decoder", "add_cross_attention"] {
        keys.never(key)?;
    }
    match kin {
        BertKin::JinaBert => {
            keys.only("feed_forward_type", "geglu")?;
            keys.never("attention_softmax_scale")?;
        }
        _ => keys.only("position_embedding_type", "absolute")?,
    }
    if kin == BertKin::Distilbert {
        return read_distilbert(keys);
    }
    // Transformers counts in 32 classes whatever the key says.
    if keys.count("relative_attention_num_buckets")?.is_some_and(|n| n != RELATIVE_BUCKETS) {
        return Err(keys.refuse("relative_attention_num_buckets", "32"));
    }
    let vocab_size = match kin {
        BertKin::Roberta => 50_265,
        BertKin::Mpnet => 30_527,
        _ => 30_522,
    };
    let small = |electra, other| if kin == BertKin::Electra { electra } else { other };
    let token_types = match kin {
        BertKin::Mpnet => 0,
        _ => keys.count("type_vocab_size")?.unwrap_or(2),
    };
    let hidden = keys.count("hidden_size")?.unwrap_or(small(256, 768));
    let embedding_size = match kin {
        BertKin::Electra => Some(keys.count("embedding_size")?.unwrap_or(128)),
        _ => None,
    };
    let activation = match kin {
        // Its gate has a name of its own.
        BertKin::JinaBert => Activation::Gelu,
        _ => keys.activation("hidden_act", Activation::Gelu)?,
    };
    let position_offset = match kin {
        BertKin::Bert | BertKin::Electra | BertKin::Distilbert | BertKin::JinaBert => 0,
        BertKin::Roberta | BertKin::XlmRoberta | BertKin::Camembert => {
            keys.count("pad_token_id")?.unwrap_or(1).saturating_add(1)
        }
        // Whatever the padding's id is.
        BertKin::Mpnet => 2,
    };
    Ok(BertConfig {
        kin,
        vocab_size: keys.count("vocab_size")?.unwrap_or(vocab_size),
        hidden,
        embedding_size: embedding_size.filter(|&size| size != hidden),
        layers: keys.count("num_hidden_layers")?.unwrap_or(12),
        heads: keys.count("num_attention_heads")?.unwrap_or(small(4, 12)),
        intermediate: keys.count("intermediate_size")?.unwrap_or(small(1024, 3072)),
        max_positions: keys.count("max_position_embeddings")?.unwrap_or(512),
        position_offset,
        token_types,
        activation,
        norm_eps: keys.number("layer_norm_eps")?.unwrap_or(1e-12),
        dropout: keys.number("hidden_dropout_prob")?.unwrap_or(0.1),
        attention_dropout: keys.number("attention_probs_dropout_prob")?.unwrap_or(0.1),
    })
}

fn read_distilbert(keys: &Keys<'_>) -> Result<BertConfig, ModelError> {
    Ok(BertConfig {
        kin: BertKin::Distilbert,
        vocab_size: keys.count("vocab_size")?.unwrap_or(30_522),
        hidden: keys.count("dim")?.unwrap_or(768),
        layers: keys.count("n_layers")?.unwrap_or(6),
        heads: keys.count("n_heads")?.unwrap_or(12),
        intermediate: keys.count("hidden_dim")?.unwrap_or(3072),
        max_positions: keys.count("max_position_embeddings")?.unwrap_or(512),
        token_types: 0,
        activation: keys.activation("activation", Activation::Gelu)?,
        norm_eps: 1e-12,
        dropout: keys.number("dropout")?.unwrap_or(0.1),
        attention_dropout: keys.number("attention_dropout")?.unwrap_or(0.1),
        ..BertConfig::default()
    })
}

/// The `config.json`.
pub(crate) fn write(config: &BertConfig, pad_id: u32) -> Value {
    let activation = activation_name(config.activation);
    // Positions start behind the padding's id.
    let pad_id =
        if config.position_offset == 0 { pad_id as usize } else { config.position_offset - 1 };
    let kin = match config.kin {
        BertKin::Bert if config.position_offset > 0 => BertKin::Roberta,
        kin => kin,
    };
    let (model_type, class) = match kin {
        BertKin::Bert => ("bert", "BertModel"),
        BertKin::Roberta => ("roberta", "RobertaModel"),
        BertKin::XlmRoberta => ("xlm-roberta", "XLMRobertaModel"),
        BertKin::Camembert => ("camembert", "CamembertModel"),
        BertKin::Distilbert => ("distilbert", "DistilBertModel"),
        BertKin::Mpnet => ("mpnet", "MPNetModel"),
        BertKin::Electra => ("electra", "ElectraModel"),
        BertKin::JinaBert => ("bert", "JinaBertModel"),
    };
    if kin == BertKin::Distilbert {
        return json!({
            "activation": activation,
            "architectures": [class],
            "attention_dropout": config.attention_dropout,
            "dim": config.hidden,
            "dropout": config.dropout,
            "hidden_dim": config.intermediate,
            "initializer_range": 0.02,
            "max_position_embeddings": config.max_positions,
            "model_type": model_type,
            "n_heads": config.heads,
            "n_layers": config.layers,
            "pad_token_id": pad_id,
            "sinusoidal_pos_embds": false,
            "torch_dtype": "float32",
            "vocab_size": config.vocab_size,
        });
    }
    let mut file = json!({
        "architectures": [class],
        "attention_probs_dropout_prob": config.attention_dropout,
        "hidden_act": activation,
        "hidden_dropout_prob": config.dropout,
        "hidden_size": config.hidden,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate,
        "layer_norm_eps": config.norm_eps,
        "max_position_embeddings": config.max_positions,
        "model_type": model_type,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "pad_token_id": pad_id,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "type_vocab_size": config.token_types,
        "vocab_size": config.vocab_size,
    });
    match kin {
        BertKin::Mpnet => {
            file["relative_attention_num_buckets"] = RELATIVE_BUCKETS.into();
        }
        BertKin::Electra => {
            file["embedding_size"] = config.embedding_size.unwrap_or(config.hidden).into();
        }
        BertKin::JinaBert => {
            file["position_embedding_type"] = "alibi".into();
            file["feed_forward_type"] = "geglu".into();
            // By which text-embeddings-inference knows it.
            file["_name_or_path"] = "jinaai/jina-bert-implementation".into();
            file["auto_map"] = json!({
                "AutoConfig": "jinaai/jina-bert-implementation--configuration_bert.JinaBertConfig",
                "AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel",
            });
        }
        _ => {}
    }
    file
}
