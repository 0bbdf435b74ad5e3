# A master and its slaves on OpenStack. The slaves wait for the master themselves, so nothing here depends on it.

terraform {
  required_version = ">= 1.6"
  required_providers {
    openstack = {
      source  = "terraform-provider-openstack/openstack"
      version = "~> 3.0"
    }
  }
}

variable "image" {
  description = "Name of an image with cloud-init and cernvm-cluster-agent."
  type        = string
}

variable "flavor" {
  type = string
}

variable "network" {
  description = "Name of the VMs' network."
  type        = string
}

variable "slaves" {
  type    = number
  default = 2
}

variable "contexts" {
  description = "Directory of master-context.txt and slave-context.txt."
  type        = string
  default     = "."
}

resource "openstack_compute_instance_v2" "master" {
  name        = "cluster-master"
  image_name  = var.image
  flavor_name = var.flavor
  user_data   = file("${var.contexts}/master-context.txt")

  network {
    name = var.network
  }
}

resource "openstack_compute_instance_v2" "slave" {
  count       = var.slaves
  name        = "cluster-slave-${count.index + 1}"
  image_name  = var.image
  flavor_name = var.flavor
  user_data   = file("${var.contexts}/slave-context.txt")

  network {
    name = var.network
  }
}

output "master_address" {
  value = openstack_compute_instance_v2.master.access_ip_v4
}
