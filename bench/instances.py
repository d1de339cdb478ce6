"""A DescribeInstances answer as EC2 gives it: XML of some 3 KB for each instance (EC2 API, ``Instance``)."""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTANCES_PER_RESERVATION = 5
"""A fleet launches several instances in one reservation."""

ANSWER = """<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<requestId>8f7724cf-496f-496e-8fe3-example</requestId><reservationSet>{reservations}</reservationSet>
</DescribeInstancesResponse>"""

RESERVATION = """<item><reservationId>r-{first}</reservationId><ownerId>123456789012</ownerId><groupSet/>
<instancesSet>{instances}</instancesSet><requesterId>123456789012</requesterId></item>"""

INSTANCE = """<item><instanceId>{id}</instanceId><imageId>ami-0abcdef1234567890</imageId>
<instanceState><code>16</code><name>running</name></instanceState>
<privateDnsName>ip-10-0-1-17.ec2.internal</privateDnsName><dnsName>ec2-203-0-113-25.compute-1.amazonaws.com</dnsName><reason/>
<amiLaunchIndex>0</amiLaunchIndex><productCodes/><instanceType>c7g.4xlarge</instanceType><launchTime>2026-11-22T08:00:00.000Z</launchTime>
<placement><availabilityZone>us-east-1a</availabilityZone><groupName/><tenancy>default</tenancy></placement>
<monitoring><state>disabled</state></monitoring><subnetId>subnet-0123456789abcdef0</subnetId><vpcId>vpc-0123456789abcdef0</vpcId>
<privateIpAddress>10.0.1.17</privateIpAddress><ipAddress>203.0.113.25</ipAddress><sourceDestCheck>true</sourceDestCheck>
<groupSet><item><groupId>sg-0123456789abcdef0</groupId><groupName>workers</groupName></item></groupSet><architecture>arm64</architecture>
<rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName>
<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-0123456789abcdef0</volumeId><status>attached</status>
<attachTime>2026-11-22T08:00:01.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></ebs></item></blockDeviceMapping>
<instanceLifecycle>spot</instanceLifecycle><spotInstanceRequestId>sir-abcd1234</spotInstanceRequestId>
<virtualizationType>hvm</virtualizationType><clientToken>fleet-01234567-89ab-cdef-0123-456789abcdef-0</clientToken>
<tagSet><item><key>Name</key><value>worker</value></item><item><key>team</key><value>rendering</value></item>
<item><key>aws:ec2:fleet-id</key><value>fleet-01234567-89ab-cdef-0123-456789abcdef</value></item>
<item><key>aws:ec2launchtemplate:id</key><value>lt-0123456789abcdef0</value></item>
<item><key>aws:ec2launchtemplate:version</key><value>3</value></item><item><key>{tag_key}</key><value>{tag_value}</value></item></tagSet>
<hypervisor>xen</hypervisor><networkInterfaceSet><item><networkInterfaceId>eni-0123456789abcdef0</networkInterfaceId>
<subnetId>subnet-0123456789abcdef0</subnetId><vpcId>vpc-0123456789abcdef0</vpcId><description/><ownerId>123456789012</ownerId>
<status>in-use</status><macAddress>0a:ff:de:ad:be:ef</macAddress><privateIpAddress>10.0.1.17</privateIpAddress>
<privateDnsName>ip-10-0-1-17.ec2.internal</privateDnsName><sourceDestCheck>true</sourceDestCheck>
<groupSet><item><groupId>sg-0123456789abcdef0</groupId><groupName>workers</groupName></item></groupSet>
<attachment><attachmentId>eni-attach-0123456789abcdef0</attachmentId><deviceIndex>0</deviceIndex><status>attached</status>
<attachTime>2026-11-22T08:00:00.000Z</attachTime><deleteOnTermination>true</deleteOnTermination><networkCardIndex>0</networkCardIndex></attachment>
<association><publicIp>203.0.113.25</publicIp><publicDnsName>ec2-203-0-113-25.compute-1.amazonaws.com</publicDnsName><ipOwnerId>amazon</ipOwnerId></association>
<privateIpAddressesSet><item><privateIpAddress>10.0.1.17</privateIpAddress><primary>true</primary></item></privateIpAddressesSet>
<ipv6AddressesSet/><interfaceType>interface</interfaceType></item></networkInterfaceSet>
<iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/worker</arn><id>AIPAEXAMPLEEXAMPLE123</id></iamInstanceProfile>
<ebsOptimized>true</ebsOptimized><enaSupport>true</enaSupport><cpuOptions><coreCount>16</coreCount><threadsPerCore>1</threadsPerCore></cpuOptions>
<capacityReservationSpecification><capacityReservationPreference>open</capacityReservationPreference></capacityReservationSpecification>
<hibernationOptions><configured>false</configured></hibernationOptions><enclaveOptions><enabled>false</enabled></enclaveOptions>
<metadataOptions><state>applied</state><httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit>
<httpEndpoint>enabled</httpEndpoint><httpProtocolIpv6>disabled</httpProtocolIpv6><instanceMetadataTags>disabled</instanceMetadataTags></metadataOptions>
<maintenanceOptions><autoRecovery>default</autoRecovery></maintenanceOptions><currentInstanceBootMode>uefi</currentInstanceBootMode>
<privateDnsNameOptions><hostnameType>ip-name</hostnameType><enableResourceNameDnsARecord>false</enableResourceNameDnsARecord></privateDnsNameOptions>
<platformDetails>Linux/UNIX</platformDetails><usageOperation>RunInstances</usageOperation>
<usageOperationUpdateTime>2026-11-22T08:00:00.000Z</usageOperationUpdateTime></item>"""


def described(instance_ids: Sequence[str], tag_key: str, tag_value: str) -> bytes:
    """Return the answer for these instances, all running, all with the tag."""
    items = [INSTANCE.format(id=instance_id, tag_key=tag_key, tag_value=tag_value) for instance_id in instance_ids]
    reservations = [
        RESERVATION.format(first=f"{number:017x}", instances="".join(some))
        for number, some in enumerate(batched(items, INSTANCES_PER_RESERVATION, strict=False))
    ]
    return ANSWER.format(reservations="".join(reservations)).encode()
