//! The stages of a tower behind its encoder, and the lists that name them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::json::{read_json, read_json_if_there, write_json};
use super::{CONFIG, unsupported};
use crate::config::Pooling;
use crate::error::ModelError;
use crate::folder::checkpoint::{self, HostTensor, WEIGHTS};
use crate::projection::{DenseActivation, DenseLayer};
use crate::side::Side;

const MODULES: &str = "modules.json";
const ROUTER: &str = "router_config.json";

/// The key under which every stage hands the embedding on.
const EMBEDDING: &str = "sentence_embedding";

/// A stage by the name of its folder and its class.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Stage {
    pub(crate) path: String,
    #[serde(rename = "type")]
    class: String,
}

impl Stage {
    /// The class without its module: those of all releases have one name.
    pub(crate) fn kind(&self) -> &str {
        match self.class.split_once('.') {
            Some(("sentence_transformers", rest)) => rest.rsplit('.').next().unwrap_or(rest),
            // A class of the folder's own.
            _ => &self.class,
        }
    }

    pub(crate) fn class(&self) -> &str {
        &self.class
    }

    /// The stage's folder, which must lie inside the model's.
    pub(crate) fn place(&self, file: &Path, folder: &Path) -> Result<PathBuf, ModelError> {
        let path = Path::new(&self.path);
        let is_inside =
            path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !is_inside {
            return Err(unsupported(file, "path", &self.path, "a folder inside the model's"));
        }
        let names = path.components().filter(|part| matches!(part, Component::Normal(_)));
        Ok(names.fold(folder.to_owned(), |place, name| place.join(name)))
    }
}

/// The stages of `modules.json`, and that file; none: the folder is an encoder alone.
pub(crate) fn read_modules(folder: &Path) -> Result<Option<(PathBuf, Vec<Stage>)>, ModelError> {
    let path = folder.join(MODULES);
    Ok(read_json_if_there(&path)?.map(|stages| (path, stages)))
}

/// Writes `modules.json`: the paths and kinds of the stages, in order.
pub(crate) fn write_modules(folder: &Path, stages: &[(String, &str)]) -> Result<(), ModelError> {
    let modules: Vec<Value> = stages
        .iter()
        .enumerate()
        .map(|(idx, (path, kind))| {
            json!({ "idx": idx, "name": idx.to_string(), "path": path, "type": class(kind) })
        })
        .collect();
    write_json(&folder.join(MODULES), &modules)
}

/// The class as releases before 5 have it, and those since then know it.
fn class(kind: &str) -> String {
    format!("sentence_transformers.models.{kind}")
}

/// Which stages each side's texts go through.
#[derive(Serialize, Deserialize)]
struct RouterFile {
    types: BTreeMap<String, String>,
    structure: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    parameters: Value,
}

/// The file that routes a folder's texts, and the stages of each side.
pub(crate) type Routes = (PathBuf, [Vec<Stage>; 2]);

/// The stages of the query's and the document's route, and the router's file; none: there is no
/// router.
pub(crate) fn read_routes(folder: &Path) -> Result<Option<Routes>, ModelError> {
    let path = folder.join(ROUTER);
    let Some(file) = read_json_if_there::<RouterFile>(&path)? else { return Ok(None) };
    if let Some(Value::Object(mappings)) = file.parameters.get("route_mappings")
        && !mappings.is_empty()
    {
        let got = Value::Object(mappings.clone()).to_string();
        return Err(unsupported(&path, "route_mappings", &got, "none"));
    }
    let [query, document] = Side::ALL.map(|side| {
        let names = file.structure.get(side.name()).ok_or_else(|| {
            let routes: Vec<&str> = file.structure.keys().map(String::as_str).collect();
            unsupported(&path, "structure", &routes.join(", "), "the routes query and document")
        })?;
        let stage = |name: &String| match file.types.get(name) {
            Some(class) => Ok(Stage { path: name.clone(), class: class.clone() }),
            None => Err(unsupported(&path, "types", name, "a type for each stage")),
        };
        let mut stages: Vec<Stage> = names.iter().map(stage).collect::<Result<_, _>>()?;
        // Behind the router the routes are one again.
        if let Some((modules, all)) = read_modules(folder)? {
            match all.split_first() {
                Some((first, rest)) if first.kind() == "Router" => stages.extend_from_slice(rest),
                first => {
                    let got = first.map_or("nothing", |(first, _)| first.class());
                    return Err(unsupported(&modules, "type", got, "a Router first"));
                }
            }
        }
        Ok(stages)
    });
    Ok(Some((path, [query?, document?])))
}

/// Writes the file that routes each side's texts through its own stages.
pub(crate) fn write_routes(
    folder: &Path,
    routes: &[(Side, Vec<(String, &str)>)],
) -> Result<(), ModelError> {
    let path = |(path, _): &(String, &str)| path.clone();
    let stages = routes.iter().flat_map(|(_, stages)| stages);
    let file = RouterFile {
        types: stages.map(|stage| (path(stage), class(stage.1))).collect(),
        structure: routes
            .iter()
            .map(|(side, stages)| (side.name().to_owned(), stages.iter().map(path).collect()))
            .collect(),
        parameters: json!({ "default_route": "document", "allow_empty_key": true }),
    };
    write_json(&folder.join(ROUTER), &file)
}

/// The poolings by their name in the newer schema and their key in the older one, in the order in which
/// several are joined.
const POOLINGS: [(Pooling, &str, &str); 6] = [
    (Pooling::Cls, "cls", "pooling_mode_cls_token"),
    (Pooling::Max, "max", "pooling_mode_max_tokens"),
    (Pooling::Mean, "mean", "pooling_mode_mean_tokens"),
    (Pooling::MeanSqrtLen, "mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"),
    (Pooling::WeightedMean, "weightedmean", "pooling_mode_weightedmean_tokens"),
    (Pooling::Last, "lasttoken", "pooling_mode_lasttoken"),
];

/// The pooling, and whether it takes in a prompt's tokens.
pub(crate) fn read_pooling(folder: &Path) -> Result<(Pooling, bool), ModelError> {
    let path = folder.join(CONFIG);
    let file: BTreeMap<String, Value> = read_json(&path)?;
    let unsupported = |key, got: &str, expected| unsupported(&path, key, got, expected);
    let unknown = |got: &str| {
        let expected = "one or more of cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken, in \
                        this order";
        unsupported("pooling_mode", got, expected)
    };
    let is_old = |key: &str| key.starts_with("pooling_mode_");
    let known =
        ["word_embedding_dimension", "embedding_dimension", "pooling_mode", "include_prompt"];
    if let Some(key) = file.keys().find(|key| !is_old(key) && !known.contains(&key.as_str())) {
        return Err(ModelError::UnknownKey { path, key: key.clone() });
    }
    let single = |value: &Value| {
        let found = POOLINGS.iter().find(|(_, new, _)| value == new);
        found.map(|(pooling, ..)| *pooling)
    };
    let (parts, got): (Option<Vec<Pooling>>, String) = match file.get("pooling_mode") {
        Some(Value::Array(modes)) => {
            (modes.iter().map(single).collect(), Value::from(modes.clone()).to_string())
        }
        Some(Value::String(mode)) => (single(&file["pooling_mode"]).map(|one| vec![one]), mode.clone()),
        Some(other) => (None, other.to_string()),
        None if !file.keys().any(|key| is_old(key)) => (Some(vec![Pooling::Mean]), String::new()),
        None => {
            let on = file.iter().filter(|(key, value)| is_old(key) && **value == true);
            let on: Vec<&str> = on.map(|(key, _)| key.as_str()).collect();
            let parts = POOLINGS.iter().filter(|(_, _, old)| on.contains(old));
            let parts: Vec<Pooling> = parts.map(|(pooling, ..)| *pooling).collect();
            ((parts.len() == on.len()).then_some(parts), on.join(" + "))
        }
    };
    let pooling = parts.and_then(|parts| Pooling::of_parts(&parts));
    let include_prompt = match file.get("include_prompt") {
        None => true,
        Some(Value::Bool(include)) => *include,
        Some(other) => {
            return Err(unsupported("include_prompt", &other.to_string(), "true or false"));
        }
    };
    Ok((pooling.ok_or_else(|| unknown(&got))?, include_prompt))
}

pub(crate) fn write_pooling(
    folder: &Path,
    pooling: Pooling,
    include_prompt: bool,
    hidden: usize,
) -> Result<(), ModelError> {
    let mut file = json!({
        "word_embedding_dimension": hidden,
        "include_prompt": include_prompt,
    });
    for (mode, _, key) in POOLINGS {
        file[key] = pooling.parts().any(|part| part == mode).into();
    }
    write_json(&folder.join(CONFIG), &file)
}

/// The nonlinearities by the names of torch's classes and of the modules in which they are.
const ACTIVATIONS: [(DenseActivation, &str, &str); 6] = [
    (DenseActivation::Identity, "linear", "Identity"),
    (DenseActivation::Tanh, "activation", "Tanh"),
    (DenseActivation::Relu, "activation", "ReLU"),
    (DenseActivation::Gelu, "activation", "GELU"),
    (DenseActivation::Silu, "activation", "SiLU"),
    (DenseActivation::Sigmoid, "activation", "Sigmoid"),
];

/// What a dense layer is; absent keys have sentence-transformers' defaults.
pub(crate) fn read_dense(folder: &Path) -> Result<DenseLayer, ModelError> {
    let path = folder.join(CONFIG);
    let file: BTreeMap<String, Value> = read_json(&path)?;
    let refused = |key, got: &Value, expected| Err(unsupported(&path, key, &plain(got), expected));
    let missing = Value::Null;
    let dim = file.get("out_features").unwrap_or(&missing);
    let Some(dim) = dim.as_u64() else {
        return refused("out_features", dim, "a number of dimensions");
    };
    let bias = match file.get("bias") {
        None => true,
        Some(Value::Bool(bias)) => *bias,
        Some(other) => return refused("bias", other, "true or false"),
    };
    let name = file.get("activation_function").cloned().unwrap_or_else(|| "torch.nn.Tanh".into());
    let class = name.as_str().and_then(|name| name.strip_prefix("torch.nn."));
    let class = class.and_then(|class| class.rsplit('.').next());
    let activation = ACTIVATIONS.iter().find(|(_, _, own)| class == Some(*own));
    let Some((activation, ..)) = activation else {
        let expected = "torch.nn's Identity, Tanh, ReLU, GELU, SiLU or Sigmoid";
        return refused("activation_function", &name, expected);
    };
    match file.get("use_residual") {
        None | Some(Value::Bool(false)) => {}
        Some(other) => return refused("use_residual", other, "false"),
    }
    for key in ["module_input_name", "module_output_name"] {
        match file.get(key) {
            None => {}
            Some(Value::Null) if key == "module_output_name" => {}
            Some(Value::String(name)) if name == EMBEDDING => {}
            Some(other) => return refused(key, other, EMBEDDING),
        }
    }
    Ok(DenseLayer { dim: dim as usize, bias, activation: *activation })
}

/// A value as a message shows it: a text without its quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Writes a dense layer: its weight, and its bias if it has one, under the names of its file.
pub(crate) fn write_dense(
    folder: &Path,
    layer: DenseLayer,
    tensors: &[(String, HostTensor)],
) -> Result<(), ModelError> {
    let weight = tensors.iter().find(|(name, _)| name == "linear.weight");
    let (_, weight) = weight.expect("every layer has a weight");
    let class = ACTIVATIONS.iter().find(|(own, ..)| *own == layer.activation);
    let (_, module, class) = class.expect("every nonlinearity has a name");
    let file = json!({
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": layer.bias,
        "activation_function": format!("torch.nn.modules.{module}.{class}"),
    });
    write_json(&folder.join(CONFIG), &file)?;
    checkpoint::write(&folder.join(WEIGHTS), tensors)
}

/// Checks that a norm is of the embedding; before 6 it has no file.
pub(crate) fn check_norm(folder: &Path) -> Result<(), ModelError> {
    let path = folder.join(CONFIG);
    // A norm without a folder of its own has no file of its own either.
    let file: BTreeMap<String, Value> = read_json_if_there(&path)?.unwrap_or_default();
    for key in ["module_input_name", "module_output_name"] {
        match file.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if name == EMBEDDING => {}
            Some(other) => return Err(unsupported(&path, key, &other.to_string(), EMBEDDING)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(path: &str, class: &str) -> Stage {
        Stage { path: path.into(), class: class.into() }
    }

    #[test]
    fn a_kind_has_one_name_in_all_releases() {
        for class in [
            "sentence_transformers.models.Pooling",
            "sentence_transformers.models.pooling.Pooling",
            "sentence_transformers.sentence_transformer.modules.Pooling",
        ] {
            assert_eq!(stage("1_Pooling", class).kind(), "Pooling", "{class}");
        }
        // A class of the folder's own is none of theirs, whatever it ends with.
        assert_eq!(stage("x", "my_code.Pooling").kind(), "my_code.Pooling");
    }

    #[test]
    fn a_stage_lies_inside_its_folder() {
        let place = |path: &str| stage(path, "x").place(Path::new("modules.json"), Path::new("m"));
        assert_eq!(place("").unwrap(), Path::new("m"));
        assert_eq!(place(".").unwrap(), Path::new("m"));
        assert_eq!(place("./1_Pooling").unwrap(), Path::new("m/1_Pooling"));
        for outside in ["..", "a/../..", "/etc"] {
            assert!(place(outside).is_err(), "{outside}");
        }
    }

    #[test]
    fn routes_are_written_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let routes = [Side::Query, Side::Document].map(|side| {
            let stages = ["Transformer", "Pooling"];
            let stages = stages.map(|kind| (format!("{}_{kind}", side.name()), kind));
            (side, stages.to_vec())
        });
        write_routes(folder.path(), &routes).unwrap();
        let (_, [query, document]) = read_routes(folder.path()).unwrap().unwrap();
        assert_eq!(query[1].path, "query_Pooling");
        assert_eq!(query[1].kind(), "Pooling");
        assert_eq!(document[0].path, "document_Transformer");
    }
}
