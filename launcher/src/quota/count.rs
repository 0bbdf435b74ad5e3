//! The walk through a stack's resources.

use serde_json::Value;

use super::{Counted, Needs};
use crate::stack::Stack;
use crate::stack::expression::Scope;
use crate::value::Number;

pub(super) fn needs(stack: &Stack, counted: Counted) -> Needs {
    let mut count = Count { stack, counted, needs: Needs::default() };
    count.resources(&Scope::of_stack(stack), 1);
    count.needs
}

struct Count<'a> {
    stack: &'a Stack,
    counted: Counted,
    needs: Needs,
}

impl Count<'_> {
    /// Counts the resources of a template, each so many times.
    fn resources(&mut self, scope: &Scope<'_>, times: u64) {
        for (name, resource) in scope.template["resources"].as_object().into_iter().flatten() {
            if scope.condition(resource) && self.is_counted(resource) {
                self.resource(name, resource, scope, times);
            }
        }
    }

    /// Whether a resource that is no member of a group is counted.
    fn is_counted(&self, resource: &Value) -> bool {
        let resource_type = resource["type"].as_str().unwrap_or_default();
        self.counted == Counted::All
            || matches!(resource_type, "OS::Nova::Server" | "OS::Cinder::Volume" | "OS::Heat::ResourceGroup")
    }

    fn resource(&mut self, name: &str, resource: &Value, scope: &Scope<'_>, times: u64) {
        let properties = &resource["properties"];
        let Some(resource_type) = resource["type"].as_str() else { return };
        match resource_type {
            _ if times == 0 => {}
            "OS::Nova::Server" => self.server(name, properties, scope, times),
            "OS::Cinder::Volume" => self.volume(name, &properties["size"], scope, times),
            "OS::Heat::ResourceGroup" => {
                // Heat's own default is one.
                let members = properties.get("count").map_or(Some(1), |count| whole(scope, count));
                self.group(name, members, &properties["resource_def"], scope, times);
            }
            "OS::Heat::AutoScalingGroup" => {
                let size = properties.get("desired_capacity").or(properties.get("min_size"));
                self.group(
                    name,
                    size.and_then(|size| whole(scope, size)),
                    &properties["resource"],
                    scope,
                    times,
                );
            }
            address => self.nested(name, address, properties, scope, times),
        }
    }

    fn group(&mut self, name: &str, members: Option<u64>, member: &Value, scope: &Scope<'_>, times: u64) {
        match members {
            Some(members) => self.resource(name, member, scope, times.saturating_mul(members)),
            None => self.needs.uncounted.push(format!("the members of {name}")),
        }
    }

    /// Counts a template that is a resource's type. Its parameters are the resource's properties.
    fn nested(&mut self, name: &str, address: &str, properties: &Value, scope: &Scope<'_>, times: u64) {
        let Some(text) = self.stack.files.get(address) else { return };
        let Ok(template) = serde_json::from_str::<Value>(text) else {
            self.needs.uncounted.push(format!("what {name} consists of"));
            return;
        };
        self.resources(&scope.of_nested(&template, properties), times);
    }

    fn server(&mut self, name: &str, properties: &Value, scope: &Scope<'_>, times: u64) {
        self.needs.instances = self.needs.instances.saturating_add(times);
        let flavour = properties.get("flavor").and_then(|flavour| scope.value(flavour));
        match flavour.and_then(|known| Some((known.value.as_str()?.to_owned(), known.parameter))) {
            Some((flavour, parameter)) => {
                let used = self.needs.flavours.entry(flavour).or_default();
                used.servers = used.servers.saturating_add(times);
                used.parameter = used.parameter.take().or(parameter);
            }
            None => self.needs.uncounted.push(format!("the flavour of {name}")),
        }
        if self.counted == Counted::AsOriginal {
            return;
        }
        // A disk that is made of an image, a snapshot or nothing is a new volume.
        for disk in properties["block_device_mapping_v2"].as_array().into_iter().flatten() {
            if disk.get("volume_id").is_none() && disk.get("volume_size").is_some() {
                self.volume(name, &disk["volume_size"], scope, times);
            }
        }
    }

    fn volume(&mut self, name: &str, size: &Value, scope: &Scope<'_>, times: u64) {
        self.needs.volumes = self.needs.volumes.saturating_add(times);
        match whole(scope, size) {
            Some(size) => {
                self.needs.volume_gb = self.needs.volume_gb.saturating_add(size.saturating_mul(times));
            }
            None => self.needs.uncounted.push(format!("the size of {name}")),
        }
    }
}

/// The whole number of an expression; a fraction is cut, as the original does, and less than none is none.
fn whole(scope: &Scope<'_>, expression: &Value) -> Option<u64> {
    if expression.is_null() {
        return None;
    }
    let value = scope.value(expression)?.value;
    Number::of(&value).ok().map(Number::to_u64)
}
