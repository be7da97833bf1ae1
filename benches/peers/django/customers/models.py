"""The tenants, as django-tenants wants them."""

from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Tenant(TenantMixin):
    """One customer."""

    name = models.CharField(max_length=100)
    auto_create_schema = False


class Domain(DomainMixin):
    """Where a customer is found; none has one."""
