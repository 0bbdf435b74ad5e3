//! The values of a template's expressions, as far as they can be told before Heat creates anything.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::Stack;
use crate::value::{Type, python};

/// A value that is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) value: Value,
    /// The parameter of the outermost template that it is.
    pub(crate) parameter: Option<String>,
}

/// What the expressions of a template see.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) template: &'a Value,
    /// The contents of files by their addresses.
    files: &'a BTreeMap<String, String>,
    /// Those that are not known are not in it.
    pub(crate) parameters: HashMap<&'a str, Known>,
}

/// How deep expressions may lie in one another.
const MAX_DEPTH: usize = 50;

impl<'a> Scope<'a> {
    /// What the template of a stack sees: the values of its parameters.
    pub(crate) fn of_stack(stack: &'a Stack) -> Self {
        Self::new(&stack.template, &stack.files, |name| match stack.parameters.get(name) {
            Some(value) => Given::Known(Known { value: value.clone(), parameter: Some(name.to_owned()) }),
            None => Given::Nothing,
        })
    }

    /// What a template sees that is the type of a resource: the resource's properties are its parameters.
    pub(crate) fn of_nested(&self, template: &'a Value, properties: &Value) -> Self {
        Self::new(template, self.files, |name| match properties.get(name) {
            None => Given::Nothing,
            Some(expression) => self.value(expression).map_or(Given::Unknown, Given::Known),
        })
    }

    /// Each parameter has what is given for it, or its default.
    fn new(template: &'a Value, files: &'a BTreeMap<String, String>, given: impl Fn(&str) -> Given) -> Self {
        let mut parameters = HashMap::new();
        for (name, schema) in template["parameters"].as_object().into_iter().flatten() {
            let known = match given(name) {
                Given::Known(known) => Some(known),
                Given::Unknown => None,
                Given::Nothing => {
                    schema.get("default").map(|default| Known { value: default.clone(), parameter: None })
                }
            };
            let parameter_type = schema["type"].as_str().and_then(Type::of);
            // As the template's functions see it: a list is a list, a number a number.
            let typed = known.and_then(|known| {
                let value = parameter_type.map_or(Ok(known.value.clone()), |typed| typed.value(&known.value));
                Some(Known { value: value.ok()?, parameter: known.parameter })
            });
            if let Some(known) = typed {
                parameters.insert(name.as_str(), known);
            }
        }
        Self { template, files, parameters }
    }

    /// The value of an expression; `None` when only Heat can tell.
    pub(crate) fn value(&self, expression: &Value) -> Option<Known> {
        self.at_depth(expression, 0)
    }

    /// Whether a resource is created, by its `condition`; one that cannot be told counts as true.
    pub(crate) fn condition(&self, resource: &Value) -> bool {
        let condition = resource.get("condition");
        condition.and_then(|condition| self.is_true(condition, 0)) != Some(false)
    }

    fn at_depth(&self, expression: &Value, depth: usize) -> Option<Known> {
        let plain = |value| Some(Known { value, parameter: None });
        match expression {
            _ if depth == MAX_DEPTH => None,
            Value::Object(map) => match map.iter().next() {
                Some((name, argument)) if map.len() == 1 => self.function(name, argument, depth + 1),
                _ => None,
            },
            Value::Array(items) => {
                let items: Option<Vec<_>> =
                    items.iter().map(|item| Some(self.at_depth(item, depth + 1)?.value)).collect();
                plain(Value::Array(items?))
            }
            _ => plain(expression.clone()),
        }
    }

    fn function(&self, name: &str, argument: &Value, depth: usize) -> Option<Known> {
        let plain = |value| Some(Known { value, parameter: None });
        match name {
            "get_param" => self.get_param(argument, depth),
            "get_file" => plain(self.files.get(argument.as_str()?)?.as_str().into()),
            "list_join" => self.list_join(argument, depth).and_then(plain),
            "str_replace" => self.str_replace(argument, depth).and_then(plain),
            "if" => {
                let [condition, yes, no] = argument.as_array()?.as_slice() else { return None };
                self.at_depth(if self.is_true(condition, depth)? { yes } else { no }, depth)
            }
            "equals" | "not" | "and" | "or" => {
                let condition = Value::Object([(name.to_owned(), argument.clone())].into_iter().collect());
                plain(Value::Bool(self.is_true(&condition, depth)?))
            }
            _ => None,
        }
    }

    /// `p`, or `[p, key or index, …]`.
    fn get_param(&self, argument: &Value, depth: usize) -> Option<Known> {
        let Value::Array(path) = argument else { return self.parameters.get(argument.as_str()?).cloned() };
        let (name, path) = path.split_first()?;
        let mut value = self.parameters.get(name.as_str()?)?.value.clone();
        for part in path {
            let part = self.at_depth(part, depth)?.value;
            let next = match &value {
                Value::Array(items) => items.get(usize::try_from(part.as_u64()?).ok()?),
                Value::Object(map) => map.get(python::text(&part).as_str()),
                _ => None,
            };
            value = next?.clone();
        }
        Some(Known { value, parameter: None })
    }

    /// `[delimiter, list, …]`.
    fn list_join(&self, argument: &Value, depth: usize) -> Option<Value> {
        let (delimiter, lists) = argument.as_array()?.split_first()?;
        let mut parts = Vec::new();
        for list in lists {
            let known = self.at_depth(list, depth)?.value;
            parts.extend(known.as_array()?.iter().map(python::text));
        }
        Some(parts.join(delimiter.as_str()?).into())
    }

    /// `{template, params}`. Longer names are replaced first, as Heat does, and a value is not looked at again.
    fn str_replace(&self, argument: &Value, depth: usize) -> Option<Value> {
        let mut rest = python::text(&self.at_depth(&argument["template"], depth)?.value);
        let mut params = Vec::new();
        for (name, value) in argument["params"].as_object()? {
            params.push((name.as_str(), python::text(&self.at_depth(value, depth)?.value)));
        }
        params.retain(|(name, _)| !name.is_empty());
        params.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut replaced = String::new();
        while let Some(char) = rest.chars().next() {
            let (with, length) = match params.iter().find(|(name, _)| rest.starts_with(name)) {
                Some((name, value)) => (value.clone(), name.len()),
                None => (char.to_string(), char.len_utf8()),
            };
            replaced += &with;
            rest.drain(..length);
        }
        Some(replaced.into())
    }

    fn is_true(&self, condition: &Value, depth: usize) -> Option<bool> {
        if depth >= MAX_DEPTH {
            return None;
        }
        match condition {
            Value::Bool(boolean) => Some(*boolean),
            Value::String(name) => self.is_true(self.template["conditions"].get(name)?, depth + 1),
            Value::Object(map) => {
                let (name, argument) = map.iter().next()?;
                let mut all =
                    argument.as_array().into_iter().flatten().map(|item| self.is_true(item, depth + 1));
                match name.as_str() {
                    "not" => self.is_true(argument, depth + 1).map(|is| !is),
                    "and" => all.try_fold(true, |sum, is| Some(sum & is?)),
                    "or" => all.try_fold(false, |sum, is| Some(sum | is?)),
                    "equals" => {
                        let [a, b] = argument.as_array()?.as_slice() else { return None };
                        Some(self.at_depth(a, depth + 1)?.value == self.at_depth(b, depth + 1)?.value)
                    }
                    "get_param" => {
                        Type::Boolean.value(&self.get_param(argument, depth)?.value).ok()?.as_bool()
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// What is given for a parameter.
enum Given {
    Known(Known),
    /// Something that only Heat knows.
    Unknown,
    /// Nothing: its default counts.
    Nothing,
}
