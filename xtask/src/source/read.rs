//! From texts to a tree of modules.

use anyhow::Context;
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, Token, UseTree, Visibility};

use super::{File, Import, Kind, Mention, Module, Name, Texts, Tree, What};

/// Reads the tree that begins at the file `root`.
pub(super) fn tree(root: &str, texts: &Texts) -> anyhow::Result<Tree> {
    let mut tree = Tree { files: Vec::new(), modules: Vec::new() };
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
    file(&mut tree, texts, root, folder, None)?;
    Ok(tree)
}

/// Reads a module's own file; its children lie in `folder`.
fn file(
    tree: &mut Tree,
    texts: &Texts,
    path: &str,
    folder: &str,
    parent: Option<usize>,
) -> anyhow::Result<usize> {
    let text = texts.get(path).with_context(|| format!("there is no `{path}`"))?;
    let parsed = syn::parse_file(text).with_context(|| format!("cannot read `{path}`"))?;
    tree.files.push(File { path: path.to_owned(), lines: text.lines().count() });
    let index = tree.files.len() - 1;
    module(tree, texts, index, &parsed.items, folder, parent)
}

fn module(
    tree: &mut Tree,
    texts: &Texts,
    file: usize,
    items: &[Item],
    folder: &str,
    parent: Option<usize>,
) -> anyhow::Result<usize> {
    let empty =
        Module { parent, file, names: Default::default(), globs: Vec::new(), mentions: Vec::new() };
    tree.modules.push(empty);
    let this = tree.modules.len() - 1;
    for item in items {
        if is_test(attributes(item)) {
            tree.files[file].lines -= lines(item.span());
        } else if let Item::Mod(child) = item {
            let name = child.ident.to_string();
            let inside = format!("{folder}/{name}");
            let index = match &child.content {
                Some((_, items)) => module(tree, texts, file, items, &inside, Some(this))?,
                None => child_file(tree, texts, &inside, this)?,
            };
            add(&mut tree.modules[this], name, What::Module(index), &child.vis);
        } else {
            let module = &mut tree.modules[this];
            if let Some((name, kind, visibility)) = definition(item) {
                add(module, name, What::Item(kind), visibility);
            }
            Reader { module }.visit_item(item);
        }
    }
    Ok(this)
}

fn child_file(
    tree: &mut Tree,
    texts: &Texts,
    inside: &str,
    parent: usize,
) -> anyhow::Result<usize> {
    let in_folder = format!("{inside}/mod.rs");
    let path = if texts.contains_key(&in_folder) { in_folder } else { format!("{inside}.rs") };
    file(tree, texts, &path, inside, Some(parent))
}

fn add(module: &mut Module, name: String, what: What, visibility: &Visibility) {
    let public = matches!(visibility, Visibility::Public(_));
    module.names.entry(name).or_default().push(Name { what, public });
}

fn lines(span: Span) -> usize {
    span.end().line - span.start().line + 1
}

/// The name that an item gives to its module, where that is no `use` and no `mod`.
fn definition(item: &Item) -> Option<(String, Kind, &Visibility)> {
    let (name, kind, visibility) = match item {
        Item::Struct(item) => (&item.ident, Kind::Type, &item.vis),
        Item::Enum(item) => (&item.ident, Kind::Type, &item.vis),
        Item::Union(item) => (&item.ident, Kind::Type, &item.vis),
        Item::Type(item) => (&item.ident, Kind::Type, &item.vis),
        Item::Trait(item) => (&item.ident, Kind::Trait, &item.vis),
        Item::Fn(item) => (&item.sig.ident, Kind::Function, &item.vis),
        Item::Const(item) => (&item.ident, Kind::Value, &item.vis),
        Item::Static(item) => (&item.ident, Kind::Value, &item.vis),
        Item::Macro(item) => (item.ident.as_ref()?, Kind::Macro, &Visibility::Inherited),
        _ => return None,
    };
    Some((name.to_string(), kind, visibility))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether what bears these is compiled for tests alone.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.parse_args::<Meta>();
        let cfg = attribute.path().is_ident("cfg") && condition.is_ok_and(|meta| needs_test(&meta));
        cfg || attribute.path().is_ident("test")
    })
}

fn needs_test(condition: &Meta) -> bool {
    let parts = || match condition {
        Meta::List(list) => list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .unwrap_or_default(),
        _ => Punctuated::new(),
    };
    match condition {
        Meta::Path(path) => path.is_ident("test") || path.is_ident("doctest"),
        list if list.path().is_ident("all") => parts().iter().any(needs_test),
        list if list.path().is_ident("any") => parts().iter().all(needs_test),
        _ => false,
    }
}

/// Collects a module's imports and the paths of its code.
struct Reader<'a> {
    module: &'a mut Module,
}

impl Reader<'_> {
    fn import(&mut self, tree: &UseTree, before: &[String], visibility: &Visibility) {
        let with = |name: &syn::Ident| {
            let mut path = before.to_vec();
            if name != "self" || before.is_empty() {
                path.push(name.to_string());
            }
            Mention { path, line: name.span().start().line }
        };
        let (mention, name) = match tree {
            UseTree::Path(tree) => {
                return self.import(&tree.tree, &with(&tree.ident).path, visibility);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, before, visibility));
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.span.start().line;
                let path = Mention { path: before.to_vec(), line };
                let public = matches!(visibility, Visibility::Public(_));
                return self.module.globs.push(Import { path, public });
            }
            UseTree::Name(tree) => {
                let mention = with(&tree.ident);
                let name = mention.path.last().cloned().unwrap_or_default();
                (mention, name)
            }
            UseTree::Rename(tree) => (with(&tree.ident), tree.rename.to_string()),
        };
        // A trait is often imported as `_`.
        add(self.module, name, What::Import(mention), visibility);
    }

    fn mention(&mut self, path: Vec<String>, span: Span) {
        self.module.mentions.push(Mention { path, line: span.start().line });
    }

    /// Paths among the tokens of a macro, whatever it makes of them.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, character: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == character);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) if at == 0 || !is(at - 1, '.') => {
                    let mut path = vec![first.to_string()];
                    while is(at + 1, ':') && is(at + 2, ':') {
                        let Some(TokenTree::Ident(next)) = tokens.get(at + 3) else { break };
                        path.push(next.to_string());
                        at += 3;
                    }
                    // What stands before `:` alone or before `=` is a field or an argument's name.
                    if path.len() > 1 || !(is(at + 1, ':') || is(at + 1, '=')) {
                        self.mention(path, first.span());
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() && !is_test(&item.attrs) {
            self.import(&item.tree, &[], &item.vis);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.mention(names, path.segments.span());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }
}
